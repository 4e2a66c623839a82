"""What the forward dynamics models have in common: the next frame from the last ones and a latent action.

Shapes: B batch, K frames, H rows, W columns, C frame channels, D latent width. Of vectors a frame is float32 [entries] in place of
uint8 [H, W, C].
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from lamflow.envs.spec import EnvironmentSpec
from lamflow.networks.settings import DynamicsSettings


class ForwardDynamics(Protocol):
    """A module."""

    def prediction_losses(self, frames_BKHWC: Tensor, latents_BD: Tensor, next_BHWC: Tensor) -> Tensor:
        """What the prediction of o_{t+1} uint8 [B, H, W, C] from frames uint8 [B, K, H, W, C], o_t the last, costs: float32 [B]."""
        ...

    def most_likely(self, frames_BKHWC: Tensor, latents_BD: Tensor) -> Tensor:
        """The most likely next frame, uint8 [B, H, W, C]."""
        ...


@runtime_checkable
class TellingDynamics(ForwardDynamics, Protocol):
    """One that tells what its most likely frame is made of."""

    def __call__(self, frames_BKHWC: Tensor, latents_BD: Tensor) -> Any:
        """A tensor or several, [B, ...]."""
        ...

    def frame_of(self, outputs: Any, frames_BKHWC: Tensor) -> Tensor:
        """The most likely next frame after ``frames_BKHWC``, of what the model answers to these."""
        ...


class StandardisedDynamics(ForwardDynamics, Protocol):
    """One whose settings say ``learns_standardised``."""

    def training_losses(self, frames_BKHWC: Tensor, latents_BD: Tensor, next_BHWC: Tensor) -> tuple[Tensor, Tensor]:
        """What its training minimises, float32 [B], and the ``prediction_losses`` of the same predictions."""
        ...


def training_losses(
    settings: DynamicsSettings, model: Any, frames_BKHWC: Tensor, latents_BD: Tensor, next_BHWC: Tensor
) -> tuple[Tensor, Tensor]:
    """What the training of a model with these settings minimises, float32 [B], and its ``prediction_losses``: most often the same."""
    if settings.learns_standardised:
        standardised: StandardisedDynamics = model
        return standardised.training_losses(frames_BKHWC, latents_BD, next_BHWC)
    losses: Tensor = model.prediction_losses(frames_BKHWC, latents_BD, next_BHWC)
    return losses, losses


def build_forward_dynamics(
    settings: DynamicsSettings, *, spec: EnvironmentSpec, latent_dim: int, num_frames: int = 2
) -> Any:
    """The model that the settings describe, an ``nn.Module`` and a ``ForwardDynamics``, for ``num_frames`` frames of ``spec``, o_t the
    last; ValueError when it cannot predict them."""
    settings.check(spec)
    # Models of other packages, which always see two, need not know of the number.
    seen = {} if num_frames == 2 else {"num_frames": num_frames}
    return settings.build(spec=spec, latent_dim=latent_dim, **seen)
