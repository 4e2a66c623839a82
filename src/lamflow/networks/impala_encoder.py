"""The IMPALA network as an encoder.

Shapes: B batch, K frames, H rows, W columns, C frame channels, D vector width, P planes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lamflow.envs.spec import EnvironmentSpec
from lamflow.networks.impala import ImpalaEncoder
from lamflow.networks.impala_settings import ImpalaSettings


class PixelEncoder(nn.Module):
    """The IMPALA network and a linear output; extra inputs enter the hidden layer."""

    def __init__(
        self,
        *,
        settings: ImpalaSettings,
        num_frames: int,
        frame_shape: tuple[int, ...],
        output_dim: int,
        extra_dim: int = 0,
    ) -> None:
        super().__init__()
        self.impala = ImpalaEncoder(
            settings=settings, num_frames=num_frames, frame_shape=frame_shape, extra_dim=extra_dim
        )
        self.output = nn.Linear(settings.hidden_width, output_dim)

    @property
    def hidden(self) -> nn.Linear:
        """The hidden layer."""
        return self.impala.hidden

    def convolved(
        self, frames_BKHWC: Tensor, extra_BD: Tensor | None = None, planes_BHWP: Tensor | None = None
    ) -> Tensor:
        """What the hidden layer gets, [B, D]; planes belong to grids."""
        assert planes_BHWP is None
        convolved_BD = self.impala.convolved(frames_BKHWC)
        return convolved_BD if extra_BD is None else torch.cat([convolved_BD, extra_BD.to(convolved_BD.dtype)], dim=1)

    def dense(self, convolved_BD: Tensor, layer: nn.Linear) -> Tensor:
        """The activations [B, hidden_width] of a hidden layer: ``self.hidden``, or another one of its shape."""
        return self.impala.dense(convolved_BD, layer)

    def features(
        self, frames_BKHWC: Tensor, extra_BD: Tensor | None = None, planes_BHWP: Tensor | None = None
    ) -> Tensor:
        """The hidden layer's activations [B, hidden_width]."""
        return self.dense(self.convolved(frames_BKHWC, extra_BD, planes_BHWP), self.hidden)

    def forward(
        self, frames_BKHWC: Tensor, extra_BD: Tensor | None = None, planes_BHWP: Tensor | None = None
    ) -> Tensor:
        """Frames uint8 [B, K, H, W, 3] to [B, output_dim]."""
        output: Tensor = self.output(self.features(frames_BKHWC, extra_BD, planes_BHWP))
        return output


def build_impala_encoder(
    *,
    settings: ImpalaSettings,
    num_frames: int,
    spec: EnvironmentSpec,
    output_dim: int,
    extra_dim: int = 0,
    extra_planes: int = 0,
) -> PixelEncoder:
    """The network for the frames of ``spec``, beside which there are no planes."""
    assert not extra_planes, f"{spec.name}: planes belong to grids"
    encoder = PixelEncoder(
        settings=settings,
        num_frames=num_frames,
        frame_shape=spec.frame_shape,
        output_dim=output_dim,
        extra_dim=extra_dim,
    )
    return nn.utils.convert_conv2d_weight_memory_format(encoder, torch.channels_last)
