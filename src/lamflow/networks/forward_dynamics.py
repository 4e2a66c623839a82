"""What the forward dynamics models have in common: the next frame from the last two and a latent action.

Shapes: B batch, H rows, W columns, C frame channels, D latent width.
"""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from lamflow.envs.spec import EnvironmentSpec
from lamflow.networks.settings import DynamicsSettings


class ForwardDynamics(Protocol):
    """A module."""

    def prediction_losses(self, frames_B2HWC: Tensor, latents_BD: Tensor, next_BHWC: Tensor) -> Tensor:
        """What the prediction of o_{t+1} uint8 [B, H, W, C] from frames uint8 [B, 2, H, W, C] costs: float32 [B]."""
        ...

    def most_likely(self, frames_B2HWC: Tensor, latents_BD: Tensor) -> Tensor:
        """The most likely next frame, uint8 [B, H, W, C]."""
        ...


def build_forward_dynamics(settings: DynamicsSettings, *, spec: EnvironmentSpec, latent_dim: int) -> Any:
    """The model that the settings describe, an ``nn.Module`` and a ``ForwardDynamics``, for the frames of ``spec``; ValueError when it
    cannot predict them."""
    settings.check(spec)
    return settings.build(spec=spec, latent_dim=latent_dim)
