"""Decoders that are networks.

Shapes: B batch, N labelled transitions, D input width, O layer width, T codes per transition, C codes per codebook,
M members, R rows per member.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial

import torch
from torch import Tensor, nn

from lamflow.data.windows import TransitionStream
from lamflow.networks.perceptron import mlp
from lamflow.policies.actions import Actions
from lamflow.policies.decoders import Answering, Weights, by_member, code_one_hot
from lamflow.policies.mlp_decoder_settings import MlpDecoderSettings
from lamflow.training.checkpoint import seed_everything
from lamflow.training.loop import Loss, train
from lamflow.training.metrics import MetricsLog
from lamflow.training.precision import Precision, default_device, precision_of

KEPT_STACKS = 4
"""Copies of layers, so few: members come and go seldom, and each of the two tables of a rollout has its own."""


@dataclass(frozen=True)
class MlpDecoder:
    """See ``lamflow.policies.decoders.Decoder``."""

    settings: MlpDecoderSettings
    space: Actions
    num_tokens: int
    num_codes: int

    @property
    def _learnt(self) -> Actions:
        return self.space.learnt_by(self.settings.box_loss)

    def network(self, width: int) -> nn.Sequential:
        """An MLP."""
        return mlp(width, self.settings.hidden_widths, self._learnt.num_outputs)

    def fit(self, inputs: Tensor, features_NF: Tensor, actions_N: Tensor, seed: int) -> tuple[Weights, Precision]:
        """A network on latents or one-hot codes, with the features behind them."""
        values = code_one_hot(inputs, self.num_codes) if self.num_tokens else inputs
        joined = torch.cat([values, features_NF], dim=1)
        network = fit_mlp_decoder(joined, actions_N, space=self._learnt, settings=self.settings, seed=seed)
        precision = precision_of(self.settings.training.precision, network.parameters())
        return network.state_dict(), precision

    def decode(self, weights: Sequence[Weights]) -> MlpDecode:
        """See ``mlp_decode``."""
        return mlp_decode(weights, self._learnt, num_tokens=self.num_tokens, num_codes=self.num_codes)


def fit_mlp_decoder(
    inputs_ND: Tensor, actions_N: Tensor, *, space: Actions, settings: MlpDecoderSettings, seed: int
) -> nn.Sequential:
    """Train a decoder on N labelled inputs (latents, or one-hot codes, perhaps with features of the observation behind them)
    float32 [N, D] and their actions [N, ...], on the default device."""
    seed_everything(seed)
    device = default_device()
    inputs_ND, actions_N = inputs_ND.to(device), actions_N.to(device)
    network = mlp(inputs_ND.shape[1], settings.hidden_widths, space.num_outputs).to(device)
    stream = TransitionStream(torch.arange(len(inputs_ND), device=device), settings.training.batch_size, seed)

    def loss(rows: Tensor) -> Loss:
        logits = network(inputs_ND[rows])
        return Loss(space.loss(logits, actions_N[rows], label_smoothing=settings.label_smoothing))

    train(module=network, batch_at=stream.batch, loss=loss, settings=settings.training, metrics=MetricsLog(), title="")
    return network


def mlp_decode(weights: Sequence[Weights], space: Actions, *, num_tokens: int, num_codes: int) -> MlpDecode:
    """The MLPs of all members."""
    return MlpDecode(weights, space, num_tokens, num_codes)


@dataclass(frozen=True)
class MlpDecode:
    """An MLP on the latent, or, where the policy predicts ``num_tokens`` > 0 codes, on the most likely ones.

    Features of the observation stand behind latents or codes, where the MLP gets them. See ``lamflow.policies.decoders.DecodeApart``.
    """

    weights: Sequence[Weights]
    space: Actions
    num_tokens: int
    num_codes: int

    def __call__(self, outputs: Tensor, members: Tensor) -> Tensor:
        inputs = _MostLikelyCodes(self.num_tokens, self.num_codes)(outputs.float())
        return self.space.answer(by_member(inputs, members, self._logits))

    def of_member(self, member: int) -> nn.Module:
        """Its MLP, behind the codes that it reads."""
        layers = _layers(self.weights[member])
        widths = [weight.shape[0] for weight, _ in layers]
        network = mlp(layers[0][0].shape[1], widths[:-1], widths[-1])
        network.load_state_dict(dict(self.weights[member]))
        return Answering(nn.Sequential(_MostLikelyCodes(self.num_tokens, self.num_codes), network), self.space)

    @cached_property
    def _layers_of(self) -> Callable[[tuple[int, ...]], list[tuple[Tensor, Tensor]]]:
        return lru_cache(maxsize=KEPT_STACKS)(partial(_stacked_layers, self.weights))

    def _logits(self, inputs_MRD: Tensor, present: Tensor) -> Tensor:
        hidden = inputs_MRD
        for index, (weights_MDO, biases_M1O) in enumerate(self._layers_of(tuple(present.tolist()))):
            hidden = torch.baddbmm(biases_M1O, hidden.relu() if index else hidden, weights_MDO)
        return hidden


class _MostLikelyCodes(nn.Module):
    """Logits of codes [B, T * C] to the one-hot vectors of the most likely ones, what stands behind them as it is; without tokens all of it
    is."""

    def __init__(self, num_tokens: int, num_codes: int) -> None:
        super().__init__()
        self.num_tokens, self.num_codes = num_tokens, num_codes

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.num_tokens:
            return inputs
        logits_BC, beside = inputs.tensor_split([self.num_tokens * self.num_codes], dim=1)
        codes = logits_BC.unflatten(1, (self.num_tokens, self.num_codes)).argmax(-1)
        return torch.cat([code_one_hot(codes, self.num_codes), beside], dim=1)


def _layers(weights: Weights) -> list[tuple[Tensor, Tensor]]:
    """The linear layers of an MLP (see ``networks.perceptron``), first to last: weights [O, D] and biases [O]."""
    places = sorted(int(name.split(".")[0]) for name in weights if name.endswith(".weight"))
    return [(weights[f"{place}.weight"], weights[f"{place}.bias"]) for place in places]


def _stacked_layers(weights: Sequence[Weights], present: tuple[int, ...]) -> list[tuple[Tensor, Tensor]]:
    """The linear layers of some members' MLPs: weights [M, D, O] and biases [M, 1, O], first to last."""
    members = [_layers(weights[member]) for member in present]
    return [
        (torch.stack([weight.T for weight, _ in each]), torch.stack([bias for _, bias in each])[:, None])
        for each in zip(*members, strict=True)
    ]
