"""The forward dynamics model over grids: the next frame from the last two and a latent action."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lamflow.config import NetworkSettings
from lamflow.models.grids import GridTrunk, one_hot_grid


class GridForwardDynamics(nn.Module):
    """FDM(o_{t-1}, o_t, z): two categorical distributions a cell of o_{t+1}.

    The latent enters every layer. The output starts from the present frame (a learned multiple of its one-hot planes), so that
    the network has to learn changes only.
    """

    def __init__(self, *, settings: NetworkSettings, category_sizes: tuple[int, int], latent_dim: int) -> None:
        super().__init__()
        self.category_sizes = category_sizes
        self.trunk = GridTrunk(settings=settings, num_frames=2, category_sizes=category_sizes)
        self.latent_projection = nn.Linear(latent_dim, settings.layers * settings.width)
        self.head = nn.Conv2d(settings.width, sum(category_sizes), 1)
        self.copy_scale = nn.Parameter(torch.tensor(3.0))

    def forward(self, frames_B2HW2: Tensor, latents_BD: Tensor) -> tuple[Tensor, Tensor]:
        """Frames uint8 [B, 2, H, W, 2] and latents [B, D] to logits of tiles and colours, [B, categories, H, W] each."""
        features = self.trunk(frames_B2HW2, shift_BC=self.latent_projection(latents_BD))
        copied = one_hot_grid(frames_B2HW2[:, 1], self.category_sizes).permute(0, 3, 1, 2)
        logits = self.head(features).float() + self.copy_scale * copied
        tiles, colors = logits.split(self.category_sizes, dim=1)
        return tiles, colors
