"""The network from vectors to a vector.

Shapes: B batch, K vectors of a context, E entries, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from lamflow.envs.spec import EnvironmentSpec
from lamflow.networks.grids import CategoryEmbedding
from lamflow.networks.mlp_settings import MlpEncoderSettings
from lamflow.networks.vectors import VectorContext
from lamflow.spaces import Vector, num_entries


class MlpEncoder(nn.Module):
    """K vectors to one: standardised or embedded, then hidden layers, the last of which is ``hidden``, and a linear output.

    In float32, also under autocast: two numbers may be told apart by less than bfloat16 resolves.
    """

    def __init__(
        self, *, settings: MlpEncoderSettings, num_frames: int, spec: EnvironmentSpec, output_dim: int, extra_dim: int
    ) -> None:
        super().__init__()
        part = spec.main_part
        self.input: nn.Module
        if isinstance(part, Vector):
            self.input, inputs = VectorContext(spec.main, part, num_frames), num_frames * num_entries(part)
        else:
            self.input = CategoryEmbedding(spec.category_sizes, settings.extras_width)
            inputs = num_frames * self.input.output_dim
        width = settings.hidden_width
        widths = [inputs + extra_dim] + [width] * settings.layers
        self.first = nn.ModuleList(nn.Linear(a, width) for a in widths[:-2])
        self.hidden = nn.Linear(widths[-2], width)
        self.output = nn.Linear(width, output_dim)

    def convolved(
        self, frames_BKE: Tensor, extra_BD: Tensor | None = None, planes_BHWP: Tensor | None = None
    ) -> Tensor:
        """What the last hidden layer gets, [B, D]."""
        assert planes_BHWP is None, "vectors have no planes"
        with torch.autocast(frames_BKE.device.type, enabled=False):
            values: Tensor = self.input(frames_BKE).flatten(1)
            if extra_BD is not None:
                values = torch.cat([values, extra_BD.float()], dim=-1)
            for layer in self.first:
                values = functional.relu(layer(values))
        return values

    def dense(self, convolved_BD: Tensor, layer: nn.Linear) -> Tensor:
        """The activations [B, hidden_width] of a hidden layer: ``self.hidden``, or another one of its shape."""
        with torch.autocast(convolved_BD.device.type, enabled=False):
            return functional.relu(layer(convolved_BD.float()))

    def features(self, frames_BKE: Tensor, extra_BD: Tensor | None = None, planes_BHWP: Tensor | None = None) -> Tensor:
        """The hidden layer's activations [B, hidden_width]."""
        return self.dense(self.convolved(frames_BKE, extra_BD, planes_BHWP), self.hidden)

    def forward(self, frames_BKE: Tensor, extra_BD: Tensor | None = None, planes_BHWP: Tensor | None = None) -> Tensor:
        """Vectors float32 or uint8 [B, K, E] (and an extra input [B, D]) to float32 [B, output_dim]."""
        features = self.features(frames_BKE, extra_BD, planes_BHWP)
        with torch.autocast(features.device.type, enabled=False):
            outputs: Tensor = self.output(features)
        return outputs


def build_mlp_encoder(
    *,
    settings: MlpEncoderSettings,
    num_frames: int,
    spec: EnvironmentSpec,
    output_dim: int,
    extra_dim: int = 0,
    extra_planes: int = 0,
) -> MlpEncoder:
    """The network for the main part of ``spec``, a vector."""
    assert not extra_planes, f"{spec.name}: planes belong to grids"
    return MlpEncoder(settings=settings, num_frames=num_frames, spec=spec, output_dim=output_dim, extra_dim=extra_dim)
