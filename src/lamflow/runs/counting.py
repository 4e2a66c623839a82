"""What networks cost, as torch counts it: they are built as the stages build them, and asked once. ``lamflow.runs.sizes`` keeps the counts.

They compute on the CPU, two samples, which takes a fifth of a second for LAPO's full sizes. On the meta device autocast, one-hot codes and
turned windows do not run, and torch's fake tensors take longer than the numbers do.

Shapes: B batch, K context frames, H and W frame sides, C frame channels, D width, F feature width.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lamflow.data.windows import Window, WindowSpec
from lamflow.envs.spec import EnvironmentSpec
from lamflow.lam.model import LatentActionModel
from lamflow.lam.settings import LamSettings
from lamflow.methods.latent_settings import LatentMethodSettings
from lamflow.methods.online import make_online_policy
from lamflow.methods.online_settings import OnlineMethodSettings
from lamflow.networks.impala_settings import ImpalaSettings
from lamflow.networks.settings import EncoderSettings, Symmetry
from lamflow.policies.actions import DiscreteActions
from lamflow.policies.inputs import PolicyInputs
from lamflow.policies.inverse_dynamics import ActionLabeller
from lamflow.policies.latent_heads import LatentHead
from lamflow.policies.network import PolicyNetwork
from lamflow.policies.settings import DecoderSettings, HeadSettings, PolicySettings
from lamflow.rl.actor_critic import ActorCritic, GridActorCritic, PixelActorCritic
from lamflow.runs.sizes import ActorCriticSize, NetworkSize

SAMPLES = 2
"""Batch normalisation in training needs two."""
FLOPS_OF_A_MAC = 2


def lam(spec: EnvironmentSpec, settings: LamSettings) -> NetworkSize:
    """A latent action model, and the loss of its windows."""
    with _counted_whole():
        model: LatentActionModel = settings.build(spec=spec)
        return NetworkSize(_macs(lambda: model.loss(_window(spec, model.training_window))), _parameters(model))


def labelling(spec: EnvironmentSpec, settings: LamSettings) -> NetworkSize:
    """The part of a latent action model that labels, and the latents of its windows."""
    with _counted_whole():
        model: LatentActionModel = settings.build(spec=spec).eval()
        macs = _macs(lambda: model.label(_window(spec, model.window)))
        return NetworkSize(macs, _parameters(model) - _unused_in_labels(model))


def policy(spec: EnvironmentSpec, settings: PolicySettings, width: int, head: HeadSettings | None) -> NetworkSize:
    """A policy, and its answers in training, with the loss of its head where it has one."""
    with _counted_whole():
        network = _policy(spec, settings, width, head)

        def answer() -> Tensor:
            outputs = network(_inputs(spec, settings.context))
            return outputs if network.head is None else network.head.loss(outputs, torch.zeros(SAMPLES, width))

        return NetworkSize(_macs(answer), _parameters(network))


def acting(spec: EnvironmentSpec, settings: PolicySettings, width: int, head: HeadSettings | None) -> NetworkSize:
    """A policy, and its answers when it plays, with the latents that its head draws. A recurrent one sees the present alone."""
    with _counted_whole():
        network = _policy(spec, settings, width, head).eval()

        def act() -> Any:
            if settings.recurrent:
                state = torch.zeros(SAMPLES, settings.network.hidden_width)
                outputs, _ = network.step(_inputs(spec, 1), state)
            else:
                outputs = network(_inputs(spec, settings.context))
            return outputs if network.head is None else network.head.draw(outputs, torch.Generator())

        return NetworkSize(_macs(act), _parameters(network))


def action_labeller(spec: EnvironmentSpec, settings: EncoderSettings, symmetry: Symmetry) -> NetworkSize:
    """VPT's inverse dynamics model."""
    with _counted_whole():
        network = ActionLabeller(settings=settings, symmetry=symmetry, spec=spec)
        return NetworkSize(_macs(lambda: network(_frames(spec, 3))), _parameters(network))


def decoder(
    spec: EnvironmentSpec, settings: DecoderSettings, width: int, num_tokens: int, num_codes: int
) -> NetworkSize:
    """An action decoder; nothing where it is no network."""
    with _counted_whole():
        built = settings.build(space=DiscreteActions.of(spec), num_tokens=num_tokens, num_codes=num_codes)
        network: nn.Module | None = built.network(width)
        if network is None:
            return NetworkSize(0, 0)
        return NetworkSize(_macs(lambda: network(torch.zeros(SAMPLES, width))), _parameters(network))


def grid_expert(spec: EnvironmentSpec, hidden_width: int) -> ActorCriticSize:
    """The expert of an egocentric grid."""
    with _counted_whole():
        return _actor_critic(GridActorCritic(spec=spec, hidden_width=hidden_width))


def pixel_expert(spec: EnvironmentSpec, settings: ImpalaSettings) -> ActorCriticSize:
    """Procgen's expert."""
    with _counted_whole():
        return _actor_critic(PixelActorCritic(settings=settings, spec=spec, mask_duplicate_actions=False))


def online_policy(
    spec: EnvironmentSpec,
    settings: OnlineMethodSettings,
    tuned: LatentMethodSettings,
    width: int,
    lam_settings: LamSettings,
) -> ActorCriticSize:
    """What a method learns with rewards: a latent policy and what is trained of it, or all of its network."""
    with _counted_whole():
        latent = _policy(spec, tuned.policy, width, tuned.latent_head)
        lam: LatentActionModel = lam_settings.build(spec=spec)
        return _actor_critic(make_online_policy(settings, tuned, spec, latent, lam))


def _actor_critic(network: ActorCritic) -> ActorCriticSize:
    inputs = _inputs(network.spec, network.context)
    encoded = network.encode(inputs)
    trained_macs = _macs(lambda: network.evaluate(encoded))
    kept = sum(part.numel() * part.element_size() for part in encoded)
    macs = _macs(lambda: network.encode(inputs)) + trained_macs
    return ActorCriticSize(macs, _parameters(network), trained_macs, kept // SAMPLES)


def _policy(spec: EnvironmentSpec, settings: PolicySettings, width: int, head: HeadSettings | None) -> PolicyNetwork:
    """A policy that answers ``width`` numbers, or latents of that width by its head."""
    built: LatentHead | None = None
    if head is not None:
        built = head.build(latent_dim=width, feature_dim=settings.network.hidden_width)
    outputs = width if built is None else built.num_outputs
    return PolicyNetwork(settings=settings, spec=spec, output_dim=outputs, head=built)


def _unused_in_labels(model: LatentActionModel) -> int:
    """ASSUME: a model's part that only predicts is called ``forward_dynamics``."""
    predicting = getattr(model, "forward_dynamics", None)
    return _parameters(predicting) if isinstance(predicting, nn.Module) else 0


def _window(spec: EnvironmentSpec, window: WindowSpec) -> Window:
    """What a latent action model sees."""
    num_frames = window.before + 1 + window.after + (window.ahead > 0)
    return Window.of_frames(_frames(spec, num_frames), present=window.before)


def _frames(spec: EnvironmentSpec, num_frames: int) -> Tensor:
    """[B, num_frames, *frame_shape], uint8 or, of vectors, float32."""
    part = spec.main_part
    return torch.zeros(SAMPLES, num_frames, *part.shape, dtype=getattr(torch, part.dtype))


def _inputs(spec: EnvironmentSpec, context: int) -> PolicyInputs:
    """As a policy with a context of so many frames gets them."""
    parts = {
        name: torch.zeros(SAMPLES, context, *part.shape, dtype=getattr(torch, part.dtype))
        for name, part in spec.observation.items()
    }
    return PolicyInputs(parts, torch.ones(SAMPLES, context, dtype=torch.bool))


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _macs(compute: Callable[[], Any]) -> int:
    """Multiply-accumulates per sample of what ``compute`` does.

    ASSUME: what FlopCounterMode has no formula of costs nothing. That is all but products of matrices, convolutions and attention:
    activations, normalisation, pooling, embeddings, and kernels of other packages. A recurrent cell is products of matrices.
    """
    with FlopCounterMode(display=False) as flops:
        compute()
    return round(flops.get_total_flops() / FLOPS_OF_A_MAC / SAMPLES)


@contextmanager
def _counted_whole() -> Iterator[None]:
    """Fused kernels, of which FlopCounterMode has no formula (oneDNN's LSTM, encoder layers of transformers, a CPU's attention), fall into
    the products that it counts. One thread does it; torch's switches and random numbers stay as they were."""
    fast_path, threads = torch.backends.mha.get_fastpath_enabled(), torch.get_num_threads()
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # oneDNN's switch warns of GPUs that are not there
        with torch.backends.mkldnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH):
            torch.backends.mha.set_fastpath_enabled(False)
            torch.set_num_threads(1)
            try:
                yield
            finally:
                torch.backends.mha.set_fastpath_enabled(fast_path)
                torch.set_num_threads(threads)
