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
    """The IMPALA network and a linear output; the face of an ``Encoder``, without extra inputs."""

    def __init__(
        self, *, settings: ImpalaSettings, num_frames: int, frame_shape: tuple[int, ...], output_dim: int
    ) -> None:
        super().__init__()
        self.impala = ImpalaEncoder(settings=settings, num_frames=num_frames, frame_shape=frame_shape)
        self.output = nn.Linear(settings.hidden_width, output_dim)

    @property
    def hidden(self) -> nn.Linear:
        """The hidden layer."""
        return self.impala.hidden

    def convolved(
        self, frames_BKHWC: Tensor, extra_BD: Tensor | None = None, planes_BHWP: Tensor | None = None
    ) -> Tensor:
        """What the hidden layer gets, [B, D]; there are no extra inputs."""
        assert extra_BD is None and planes_BHWP is None
        return self.impala.convolved(frames_BKHWC)

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
    """The network for the frames of ``spec``; ValueError when it shall have extra inputs."""
    if extra_dim or extra_planes:
        raise ValueError(
            f"{spec.name}: found extra inputs ({extra_dim} entries, {extra_planes} planes) of an encoder of kind 'impala', "
            "expected none: switch them off in the settings (proprioception, task)"
        )
    encoder = PixelEncoder(
        settings=settings, num_frames=num_frames, frame_shape=spec.frame_shape, output_dim=output_dim
    )
    return nn.utils.convert_conv2d_weight_memory_format(encoder, torch.channels_last)
