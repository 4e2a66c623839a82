"""The latent action model: inverse dynamics model -> quantiser -> forward dynamics model (LAPO, arXiv 2312.10812).

Shapes: B batch, H and W grid sides, D latent width, T codes a frame (codebooks x tokens).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from lamflow.catalogue import EnvironmentSpec
from lamflow.config import LamSettings
from lamflow.models.forward_dynamics import GridForwardDynamics
from lamflow.models.grids import GridEncoder
from lamflow.models.quantizers import Quantized, build_quantizer
from lamflow.models.symmetry import agent_direction, face_up, rotate_each
from lamflow.training.loop import Loss


class Latents(NamedTuple):
    """``continuous`` float32 [B, D] before quantisation, ``quantized`` float32 [B, D], ``codes`` int64 [B, T]."""

    continuous: Tensor
    quantized: Tensor
    codes: Tensor


class LatentActionModel(nn.Module):
    """Learns what happens between two frames well enough to predict the second: that is the latent action."""

    def __init__(self, *, settings: LamSettings, spec: EnvironmentSpec) -> None:
        super().__init__()
        self.settings = settings
        latent_dim = settings.quantizer.latent_dim
        self.inverse_dynamics = GridEncoder(
            settings=settings.inverse_dynamics,
            num_frames=3,
            frame_shape=spec.frame_shape,
            category_sizes=spec.category_sizes,
            output_dim=latent_dim,
        )
        self.quantizer = build_quantizer(settings.quantizer)
        self.forward_dynamics = GridForwardDynamics(
            settings=settings.forward_dynamics, category_sizes=spec.category_sizes, latent_dim=latent_dim
        )

    def loss(self, windows_B3HW2: Tensor) -> Loss:
        """Reconstruction (cross-entropy of o_{t+1}, nats a frame) + commitment, for windows uint8 [B, 3, H, W, 2]."""
        windows_B3HW2 = self.canonical(windows_B3HW2)
        quantized: Quantized = self.quantizer(self.inverse_dynamics(windows_B3HW2))
        reconstruction = self._prediction_loss(windows_B3HW2, quantized.latents).mean()
        commitment = self.settings.quantizer.commitment_weight * quantized.commitment_loss
        return Loss(
            total=reconstruction + commitment,
            terms={"loss/reconstruction": reconstruction.detach(), "loss/commitment": commitment.detach()},
        )

    def canonical(self, windows_BKHW2: Tensor) -> Tensor:
        """Windows as the networks see them: with a rotation symmetry, turned so that the agent faces up in o_t (frame 1)."""
        return face_up(windows_BKHW2, present=1) if self.settings.symmetry == "rotation" else windows_BKHW2

    def _prediction_loss(self, windows_B3HW2: Tensor, latents_BD: Tensor) -> Tensor:
        tiles, colors = self.forward_dynamics(windows_B3HW2[:, :2], latents_BD)
        target = windows_B3HW2[:, 2].long()
        losses = functional.cross_entropy(tiles.float(), target[..., 0], reduction="none")
        losses = losses + functional.cross_entropy(colors.float(), target[..., 1], reduction="none")
        return losses.sum(dim=(1, 2))

    def prediction_loss(self, windows_B3HW2: Tensor, latents_BD: Tensor) -> Tensor:
        """Cross-entropy of the true o_{t+1} under the FDM's prediction, summed over cells and channels: nats, float32 [B]."""
        return self._prediction_loss(self.canonical(windows_B3HW2), latents_BD)

    def predict(self, frames_B2HW2: Tensor, latents_BD: Tensor) -> Tensor:
        """The most likely next frame, uint8 [B, H, W, 2]."""
        tiles, colors = self.forward_dynamics(self.canonical(frames_B2HW2), latents_BD)
        predicted = torch.stack([tiles.argmax(1), colors.argmax(1)], dim=-1).to(torch.uint8)
        if self.settings.symmetry == "rotation":
            return rotate_each(predicted, -agent_direction(frames_B2HW2[:, 1]))
        return predicted

    @torch.no_grad()
    def label(self, windows_B3HW2: Tensor) -> Latents:
        """The latent actions of windows uint8 [B, 3, H, W, 2]."""
        continuous = self.inverse_dynamics(self.canonical(windows_B3HW2)).float()
        quantized = self.quantizer(continuous)
        return Latents(continuous, quantized.latents, quantized.codes)
