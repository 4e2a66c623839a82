"""Forward dynamics models: the next frame from the last two and a latent action.

Shapes: B batch, H rows, W columns, D latent width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from lamflow.envs.spec import EnvironmentSpec
from lamflow.models.encoders import check_kind
from lamflow.models.grids import GridTrunk, one_hot_grid
from lamflow.models.settings import DynamicsSettings, NetworkSettings
from lamflow.models.unet import UnetForwardDynamics


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

    def prediction_losses(self, frames_B2HW2: Tensor, latents_BD: Tensor, next_BHW2: Tensor) -> Tensor:
        """Cross-entropy of o_{t+1} uint8 [B, H, W, 2], summed over cells and channels: nats, float32 [B]."""
        target = next_BHW2.long()
        logits = self(frames_B2HW2, latents_BD)
        tile_losses, color_losses = (
            functional.cross_entropy(plane.float(), target[..., channel], reduction="none")
            for channel, plane in enumerate(logits)
        )
        return (tile_losses + color_losses).sum(dim=(1, 2))

    def most_likely(self, frames_B2HW2: Tensor, latents_BD: Tensor) -> Tensor:
        """The most likely next frame, uint8 [B, H, W, 2]."""
        tiles, colors = self(frames_B2HW2, latents_BD)
        return torch.stack([tiles.argmax(1), colors.argmax(1)], dim=-1).to(torch.uint8)


ForwardDynamics = GridForwardDynamics | UnetForwardDynamics


def build_forward_dynamics(settings: DynamicsSettings, *, spec: EnvironmentSpec, latent_dim: int) -> ForwardDynamics:
    """The forward dynamics model that the settings name, for the frames of ``spec``; ValueError when its kind does not fit them."""
    check_kind(settings.kind, "unet" if spec.view == "pixels" else "grid", "forward dynamics model", spec)
    if isinstance(settings, NetworkSettings):
        tile_sizes, color_sizes = spec.category_sizes
        return GridForwardDynamics(settings=settings, category_sizes=(tile_sizes, color_sizes), latent_dim=latent_dim)
    network = UnetForwardDynamics(settings=settings, frame_shape=spec.frame_shape, latent_dim=latent_dim)
    return nn.utils.convert_conv2d_weight_memory_format(network, torch.channels_last)
