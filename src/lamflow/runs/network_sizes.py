"""What networks cost, counted from their settings: multiply-accumulates of one sample's forward pass, and parameters.

The counts are of the networks in ``lamflow.networks`` and ``lamflow.policies.network``, without torch, which takes seconds to
import. Elementwise passes (activations, normalisation, pooling) are left out of the multiply-accumulates.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from lamflow.envs.spec import EnvironmentSpec
from lamflow.lam.settings import LamSettings
from lamflow.networks.grid_settings import GridDynamicsSettings, GridEncoderSettings, GridTrunkSettings
from lamflow.networks.impala_settings import ImpalaSettings
from lamflow.networks.settings import DynamicsSettings, EncoderSettings
from lamflow.networks.unet_settings import UnetSettings
from lamflow.policies.flow_settings import FlowSettings
from lamflow.policies.settings import PolicySettings
from lamflow.quantizers.settings import QuantizerSettings

FLOW_TIME_WIDTH = 8
"""Entries of the embedding of the time of a flow (``lamflow.networks.flow``)."""
PATCH_SIDE = 4
"""Pixels of a patch's side in the stems of kind ``patch``."""


class NetworkSize(NamedTuple):
    """Multiply-accumulates of one sample's forward pass, and parameters."""

    macs: int
    parameters: int


def total(parts: Sequence[NetworkSize]) -> NetworkSize:
    """The size of a network that is made of these parts."""
    return NetworkSize(sum(part.macs for part in parts), sum(part.parameters for part in parts))


def mlp_size(input_dim: int, hidden_widths: Sequence[int], output_dim: int) -> NetworkSize:
    """A multi-layer perceptron."""
    return total([_linear(a, b) for a, b in pairwise([input_dim, *hidden_widths, output_dim])])


def encoder_size(
    settings: EncoderSettings,
    spec: EnvironmentSpec,
    *,
    num_frames: int,
    output_dim: int,
    extra_dim: int = 0,
    extra_planes: int = 0,
) -> NetworkSize:
    """A network from frames to a vector; the arguments are those of ``lamflow.networks.encoders.build_encoder``."""
    if not isinstance(settings, GridEncoderSettings):
        # ASSUME: another package's encoder is like the IMPALA network.
        impala = (
            settings if isinstance(settings, ImpalaSettings) else ImpalaSettings(hidden_width=settings.hidden_width)
        )
        return total([_impala(impala, spec, num_frames), _linear(impala.hidden_width, output_dim)])
    cells = spec.frame_shape[0] * spec.frame_shape[1]
    pooled = settings.width * (cells if settings.pooling == "flatten" else 1)
    return total(
        [
            _grid_trunk(settings, spec, num_frames, extra_planes),
            _linear(pooled + extra_dim, settings.hidden_width),
            _linear(settings.hidden_width, output_dim),
        ]
    )


def forward_dynamics_size(settings: DynamicsSettings, spec: EnvironmentSpec, latent_dim: int) -> NetworkSize:
    """A forward dynamics model over two frames and a latent."""
    if not isinstance(settings, GridDynamicsSettings):
        # ASSUME: another package's model is like the U-Net.
        return _unet(settings if isinstance(settings, UnetSettings) else UnetSettings(), spec, latent_dim)
    cells = spec.frame_shape[0] * spec.frame_shape[1]
    return total(
        [
            _grid_trunk(settings, spec, 2, 0),
            _linear(latent_dim, settings.layers * settings.width),
            _convolution(settings.width, sum(spec.category_sizes), 1, cells),
            NetworkSize(0, 1),
        ]
    )


def lam_size(settings: LamSettings, spec: EnvironmentSpec) -> NetworkSize:
    """A latent action model: inverse dynamics model, comparison with the codes, forward dynamics model."""
    latent_dim = settings.quantizer.latent_dim
    return total(
        [
            inverse_dynamics_size(settings, spec),
            forward_dynamics_size(settings.forward_dynamics, spec, latent_dim),
        ]
    )


def inverse_dynamics_size(settings: LamSettings, spec: EnvironmentSpec) -> NetworkSize:
    """The part of a latent action model that labels: inverse dynamics model and comparison with the codes."""
    latent_dim = settings.quantizer.latent_dim
    encoder = encoder_size(settings.inverse_dynamics, spec, num_frames=3, output_dim=latent_dim)
    return total([encoder, _codebooks(settings.quantizer)])


def policy_size(settings: PolicySettings, spec: EnvironmentSpec, output_dim: int) -> NetworkSize:
    """A policy on its context of frames."""
    network = settings.network
    hidden = network.hidden_width
    has_task = settings.task and bool(spec.task_sizes)
    extras = (0, 0) if network.extras_width is None else _extra_inputs(settings, spec, network.extras_width)
    encoder = encoder_size(
        network,
        spec,
        num_frames=1 if settings.recurrent else settings.context,
        output_dim=hidden if settings.recurrent else output_dim,
        extra_dim=extras[0],
        extra_planes=2 if has_task else 0,
    )
    parts = [encoder, NetworkSize(0, extras[1])]
    if settings.recurrent:
        cell = NetworkSize(6 * hidden * hidden, 6 * hidden * (hidden + 1))
        step = total([encoder, cell])
        parts = [NetworkSize(settings.context * step.macs, step.parameters), _linear(hidden, output_dim), parts[1]]
    return total(parts)


def grid_expert_size(hidden_width: int, spec: EnvironmentSpec) -> NetworkSize:
    """The expert of an egocentric grid: one-hot view, carried object and direction into an MLP for actions and value."""
    height, width, _ = spec.frame_shape
    features = (height * width + 1) * sum(spec.category_sizes) + spec.proprioception_sizes[0]
    return mlp_size(features, (hidden_width, hidden_width), spec.num_actions + 1)


def flow_size(settings: FlowSettings, latent_dim: int, feature_dim: int) -> NetworkSize:
    """One prediction of a flow's network: its first layer reads a noisy latent, its time, and features."""
    first, *others = settings.hidden_widths
    noisy = _linear(latent_dim + FLOW_TIME_WIDTH, first)
    features = NetworkSize(feature_dim * first, feature_dim * first)
    return total([noisy, features, mlp_size(first, others, latent_dim)])


def dense_macs(settings: PolicySettings, spec: EnvironmentSpec) -> int:
    """Multiply-accumulates of a policy's hidden layer, which is all that a fine-tuning trains beside its heads."""
    network = settings.network
    height, width, _ = spec.frame_shape
    if isinstance(network, GridEncoderSettings):
        cells = height * width if network.pooling == "flatten" else 1
        inputs = network.width * cells + _extra_inputs(settings, spec, network.embedding_dim)[0]
    else:
        impala = network if isinstance(network, ImpalaSettings) else ImpalaSettings()
        for index in range(len(impala.channels)):
            step = PATCH_SIDE if index == 0 and impala.stem == "patch" else 2
            height, width = -(-height // step), -(-width // step)
        inputs = impala.channels[-1] * impala.scale * height * width
    return inputs * network.hidden_width


def _linear(inputs: int, outputs: int) -> NetworkSize:
    return NetworkSize(inputs * outputs, (inputs + 1) * outputs)


def _convolution(inputs: int, outputs: int, kernel: int, places: int) -> NetworkSize:
    """A convolution with a square kernel, evaluated at so many places."""
    taps = inputs * outputs * kernel**2
    return NetworkSize(taps * places, taps + outputs)


def _residual(channels: int, inner: int, places: int) -> NetworkSize:
    return total([_convolution(channels, inner, 3, places), _convolution(inner, channels, 3, places)])


def _codebooks(settings: QuantizerSettings) -> NetworkSize:
    """The comparison of each token with each code; codebooks are moving averages, no parameters."""
    return NetworkSize(settings.multiplications, 0)


def _grid_trunk(settings: GridTrunkSettings, spec: EnvironmentSpec, num_frames: int, planes: int) -> NetworkSize:
    height, width, columns = spec.frame_shape
    table = sum(spec.category_sizes) * num_frames * settings.embedding_dim
    widths = [columns * num_frames * settings.embedding_dim + planes] + [settings.width] * settings.layers
    convolutions = [_convolution(a, b, 3, height * width) for a, b in pairwise(widths)]
    return total([NetworkSize(0, table), *convolutions])


def _extra_inputs(settings: PolicySettings, spec: EnvironmentSpec, embedding_dim: int) -> tuple[int, int]:
    """Width of a grid policy's inputs beside its frames, and parameters of their embeddings."""
    width = parameters = 0
    has_proprioception = settings.proprioception and bool(spec.proprioception_sizes)
    if has_proprioception:
        width += len(spec.proprioception_sizes) * embedding_dim
        parameters += sum(spec.proprioception_sizes) * embedding_dim
    if settings.task and spec.task_sizes:
        height, columns, _ = spec.frame_shape
        width += embedding_dim + (2 if has_proprioception else 0)
        width += 2 * (2 * height - 1) * (2 * columns - 1) if spec.view == "full" else 0
        parameters += spec.task_sizes[0] * embedding_dim
    return width, parameters


def _impala(settings: ImpalaSettings, spec: EnvironmentSpec, num_frames: int) -> NetworkSize:
    side, channels = spec.frame_shape[0], spec.frame_shape[2] * num_frames
    parts = []
    for index, base in enumerate(settings.channels):
        outputs = base * settings.scale
        if index == 0 and settings.stem == "patch":
            side = -(-side // PATCH_SIDE)
            # Of 8x8 taps, which are computed as 8 rows by three places of four pixels.
            parts.append(NetworkSize(channels * outputs * 96 * side**2, channels * outputs * 64 + outputs))
        else:
            parts.append(_convolution(channels, outputs, 3, side**2))
            side = -(-side // 2)
        parts += [_residual(outputs, outputs, side**2)] * settings.blocks
        channels = outputs
    return total([*parts, _linear(channels * side**2, settings.hidden_width)])


def _unet(settings: UnetSettings, spec: EnvironmentSpec, latent_dim: int) -> NetworkSize:
    patch = PATCH_SIDE if settings.stem == "patch" else 1
    base, pixels = settings.base_width, spec.frame_shape[2] * patch**2
    # Padded to a power of two.
    side = 2 ** (-(-spec.frame_shape[0] // patch) - 1).bit_length()
    planes, depth = 2 * pixels, side.bit_length() - 2
    widths = [base * 2**index for index in range(depth + 1)]
    # The tiled latent adds one vector a tap of the kernel, at each place where the tap is seen.
    latent = NetworkSize(9 * widths[0] * (latent_dim + side**2), 9 * widths[0] * latent_dim)
    parts = [latent]
    for inputs, outputs in pairwise([planes, *widths[:-1]]):
        parts += [_convolution(inputs, outputs, 3, side**2), NetworkSize(0, 2 * outputs)]
        parts.append(_residual(outputs, outputs // 2, side**2))
        side //= 2
    parts.append(_convolution(widths[-2], widths[-1], 2, 1))
    side = 1
    skips = [latent_dim, *reversed(widths[:-1])]
    for (inputs, outputs), skip in zip(pairwise([*reversed(widths), base]), skips, strict=True):
        places = (2 * side) ** 2
        taps = (inputs + skip) * outputs
        parts += [NetworkSize(taps * places, 4 * taps + outputs), NetworkSize(0, 2 * outputs)]
        parts.append(_residual(outputs, outputs // 2, places))
        side *= 2
    last = base if patch == 1 else 2 * base
    parts += [_convolution(base + planes, last, 3, side**2), _residual(last, last // 2, side**2)]
    return total([*parts, _convolution(last, pixels, 1, side**2)])
