"""The forward dynamics model over grids of categories.

Shapes: B batch, K frames, H rows, W columns, D latent width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from lamflow.envs.spec import EnvironmentSpec
from lamflow.networks.grid_settings import GridDynamicsSettings
from lamflow.networks.grids import GridTrunk, one_hot_grid


class GridForwardDynamics(nn.Module):
    """FDM(o_{t-1}, o_t, z): two categorical distributions a cell of o_{t+1}.

    The latent enters every layer. The output starts from the present frame (a learned multiple of its one-hot planes), so that
    the network has to learn changes only.
    """

    def __init__(
        self, *, settings: GridDynamicsSettings, category_sizes: tuple[int, int], latent_dim: int, num_frames: int = 2
    ) -> None:
        super().__init__()
        self.category_sizes = category_sizes
        self.trunk = GridTrunk(settings=settings, num_frames=num_frames, category_sizes=category_sizes)
        self.latent_projection = nn.Linear(latent_dim, settings.layers * settings.width)
        self.head = nn.Conv2d(settings.width, sum(category_sizes), 1)
        self.copy_scale = nn.Parameter(torch.tensor(3.0))

    def forward(self, frames_BKHW2: Tensor, latents_BD: Tensor) -> tuple[Tensor, Tensor]:
        """Frames uint8 [B, K, H, W, 2] and latents [B, D] to logits of tiles and colours, [B, categories, H, W] each."""
        features = self.trunk(frames_BKHW2, shift_BC=self.latent_projection(latents_BD))
        copied = one_hot_grid(frames_BKHW2[:, -1], self.category_sizes).permute(0, 3, 1, 2)
        logits = self.head(features).float() + self.copy_scale * copied
        tiles, colors = logits.split(self.category_sizes, dim=1)
        return tiles, colors

    def prediction_losses(self, frames_BKHW2: Tensor, latents_BD: Tensor, next_BHW2: Tensor) -> Tensor:
        """Cross-entropy of o_{t+1} uint8 [B, H, W, 2], summed over cells and channels: nats, float32 [B]."""
        target = next_BHW2.long()
        logits = self(frames_BKHW2, latents_BD)
        tile_losses, color_losses = (
            functional.cross_entropy(plane.float(), target[..., channel], reduction="none")
            for channel, plane in enumerate(logits)
        )
        return (tile_losses + color_losses).sum(dim=(1, 2))

    def most_likely(self, frames_BKHW2: Tensor, latents_BD: Tensor) -> Tensor:
        """The most likely next frame, uint8 [B, H, W, 2]."""
        return self.frame_of(self(frames_BKHW2, latents_BD), frames_BKHW2)

    def frame_of(self, outputs: tuple[Tensor, Tensor], frames_BKHW2: Tensor) -> Tensor:
        """The same of logits, uint8 [B, H, W, 2]."""
        tiles, colors = outputs
        return torch.stack([tiles.argmax(1), colors.argmax(1)], dim=-1).to(torch.uint8)


def build_grid_dynamics(
    *, settings: GridDynamicsSettings, spec: EnvironmentSpec, latent_dim: int, num_frames: int = 2
) -> GridForwardDynamics:
    """The model for the frames of ``spec``."""
    tile_sizes, color_sizes = spec.category_sizes
    return GridForwardDynamics(
        settings=settings, category_sizes=(tile_sizes, color_sizes), latent_dim=latent_dim, num_frames=num_frames
    )
