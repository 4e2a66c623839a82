"""What the networks from frames to a vector have in common.

Shapes: B batch, K frames, H rows, W columns, C frame channels, D vector width, P planes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from torch import Tensor, nn

from lamflow.envs.spec import EnvironmentSpec
from lamflow.networks.settings import EncoderSettings


class Encoder(Protocol):
    """A module. ``hidden`` is its last hidden layer, ``output`` the linear map behind it."""

    @property
    def hidden(self) -> nn.Linear: ...

    @property
    def output(self) -> nn.Linear: ...

    def __call__(
        self, frames_BKHWC: Tensor, extra_BD: Tensor | None = None, planes_BHWP: Tensor | None = None
    ) -> Tensor:
        """Frames uint8 [B, K, H, W, C], and extra inputs where the encoder was made for some, to [B, output_dim]."""
        ...

    def convolved(
        self, frames_BKHWC: Tensor, extra_BD: Tensor | None = None, planes_BHWP: Tensor | None = None
    ) -> Tensor:
        """What the hidden layer gets, [B, D]."""
        ...

    def dense(self, convolved_BD: Tensor, layer: nn.Linear) -> Tensor:
        """The activations [B, hidden_width] of a hidden layer: ``hidden``, or another one of its shape."""
        ...

    def features(
        self, frames_BKHWC: Tensor, extra_BD: Tensor | None = None, planes_BHWP: Tensor | None = None
    ) -> Tensor:
        """The hidden layer's activations [B, hidden_width]."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]: ...


def build_encoder(
    settings: EncoderSettings,
    *,
    num_frames: int,
    spec: EnvironmentSpec,
    output_dim: int,
    extra_dim: int = 0,
    extra_planes: int = 0,
) -> Any:
    """The encoder that the settings describe, an ``nn.Module`` and an ``Encoder``, for the frames of ``spec``.

    ``extra_dim`` and ``extra_planes`` are the widths of inputs beside the frames, 0 where the settings have no ``extras_width``.
    ValueError when the encoder cannot see the environment's frames.
    """
    settings.check(spec)
    return settings.build(
        num_frames=num_frames, spec=spec, output_dim=output_dim, extra_dim=extra_dim, extra_planes=extra_planes
    )
