"""The network from grids of categories to a vector.

Shapes: B batch, K frames, H rows, W columns, C channels, D vector width, P planes. Frames are uint8 [H, W, 2]: tile and colour.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from lamflow.envs.spec import EnvironmentSpec
from lamflow.networks.grid_settings import GridEncoderSettings
from lamflow.networks.grids import GridTrunk


class GridEncoder(nn.Module):
    """K frames to one vector: trunk, pooling, one hidden layer, and a linear output."""

    def __init__(
        self,
        *,
        settings: GridEncoderSettings,
        num_frames: int,
        frame_shape: tuple[int, ...],
        category_sizes: tuple[int, int],
        output_dim: int,
        extra_dim: int = 0,
        extra_planes: int = 0,
    ) -> None:
        super().__init__()
        self.pooling = settings.pooling
        self.trunk = GridTrunk(
            settings=settings, num_frames=num_frames, category_sizes=category_sizes, extra_planes=extra_planes
        )
        pooled = settings.width * (frame_shape[0] * frame_shape[1] if settings.pooling == "flatten" else 1)
        self.hidden = nn.Linear(pooled + extra_dim, settings.hidden_width)
        self.output = nn.Linear(settings.hidden_width, output_dim)

    def convolved(
        self, frames_BKHW2: Tensor, extra_BD: Tensor | None = None, planes_BHWP: Tensor | None = None
    ) -> Tensor:
        """What the hidden layer gets: the pooled trunk and the extra input, [B, D]."""
        features_BCHW = self.trunk(frames_BKHW2, planes_BHWP)
        pooled = features_BCHW.flatten(1) if self.pooling == "flatten" else features_BCHW.amax(dim=(2, 3))
        return pooled if extra_BD is None else torch.cat([pooled, extra_BD], dim=-1)

    def dense(self, convolved_BD: Tensor, layer: nn.Linear) -> Tensor:
        """The activations [B, hidden_width] of a hidden layer: ``self.hidden``, or another one of its shape."""
        return functional.relu(layer(convolved_BD))

    def features(
        self, frames_BKHW2: Tensor, extra_BD: Tensor | None = None, planes_BHWP: Tensor | None = None
    ) -> Tensor:
        """The hidden layer's activations [B, hidden_width]."""
        return self.dense(self.convolved(frames_BKHW2, extra_BD, planes_BHWP), self.hidden)

    def forward(
        self, frames_BKHW2: Tensor, extra_BD: Tensor | None = None, planes_BHWP: Tensor | None = None
    ) -> Tensor:
        """Frames uint8 [B, K, H, W, 2] (and an extra input [B, D]) to [B, output_dim]."""
        return self.output(self.features(frames_BKHW2, extra_BD, planes_BHWP))


def build_grid_encoder(
    *,
    settings: GridEncoderSettings,
    num_frames: int,
    spec: EnvironmentSpec,
    output_dim: int,
    extra_dim: int = 0,
    extra_planes: int = 0,
) -> GridEncoder:
    """The network for the frames of ``spec``."""
    tile_sizes, color_sizes = spec.category_sizes
    return GridEncoder(
        settings=settings,
        num_frames=num_frames,
        frame_shape=spec.frame_shape,
        category_sizes=(tile_sizes, color_sizes),
        output_dim=output_dim,
        extra_dim=extra_dim,
        extra_planes=extra_planes,
    )
