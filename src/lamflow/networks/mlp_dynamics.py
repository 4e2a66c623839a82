"""The forward dynamics model over vectors of numbers.

Shapes: B batch, K frames, D entries of a frame, Z latent width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lamflow.envs.spec import EnvironmentSpec
from lamflow.networks.mlp_dynamics_settings import MlpDynamicsSettings
from lamflow.networks.perceptron import mlp
from lamflow.networks.vectors import StandardisedChange, VectorContext
from lamflow.spaces import Vector, num_entries


class MlpForwardDynamics(nn.Module):
    """FDM(o_{t-1}, o_t, z): the numbers of o_{t+1}, from standardised frames. In float32, also under autocast, as ``MlpEncoder``.

    By ``target`` the output is the next frame, its change from the present one, or that change standardised by the train split.
    """

    def __init__(
        self, *, settings: MlpDynamicsSettings, name: str, part: Vector, latent_dim: int, num_frames: int = 2
    ) -> None:
        super().__init__()
        self.input = VectorContext(name, part, num_frames)
        self.is_change = settings.target != "frame"
        self.units = StandardisedChange(name, part) if settings.learns_standardised else None
        widths = [settings.hidden_width] * settings.layers
        self.network = mlp(self.input.output_dim + latent_dim, widths, num_entries(part))

    def forward(self, frames_BKD: Tensor, latents_BZ: Tensor) -> Tensor:
        """The output, float32 [B, D], in the units of the target."""
        with torch.autocast(frames_BKD.device.type, enabled=False):
            output: Tensor = self.network(torch.cat([self.input(frames_BKD), latents_BZ.float()], dim=1))
        return output

    def training_losses(self, frames_BKD: Tensor, latents_BZ: Tensor, next_BD: Tensor) -> tuple[Tensor, Tensor]:
        """See ``StandardisedDynamics``: mean squared errors over the entries, in standard deviations of the change, and in the frame's own
        units."""
        errors_BD = self._errors(frames_BKD, latents_BZ, next_BD)
        return errors_BD.square().mean(1), self._in_own_units(errors_BD).square().mean(1)

    def prediction_losses(self, frames_BKD: Tensor, latents_BZ: Tensor, next_BD: Tensor) -> Tensor:
        """Mean squared error to o_{t+1} float32 [B, D] over the entries, in the frame's own units, squared: float32 [B]."""
        return self._in_own_units(self._errors(frames_BKD, latents_BZ, next_BD)).square().mean(1)

    def _errors(self, frames_BKD: Tensor, latents_BZ: Tensor, next_BD: Tensor) -> Tensor:
        """In the units of the target, [B, D]."""
        wanted = next_BD.float()
        if self.is_change:
            wanted = wanted - frames_BKD[:, -1].float()
        if self.units is not None:
            wanted = self.units.standardise(wanted)
        return self(frames_BKD, latents_BZ) - wanted

    def _in_own_units(self, errors_BD: Tensor) -> Tensor:
        return errors_BD if self.units is None else errors_BD * self.units.scale

    def most_likely(self, frames_BKD: Tensor, latents_BZ: Tensor) -> Tensor:
        """The predicted next frame, float32 [B, D]."""
        return self.frame_of(self(frames_BKD, latents_BZ), frames_BKD)

    def frame_of(self, outputs: Tensor, frames_BKD: Tensor) -> Tensor:
        """The same of what ``forward`` answers, float32 [B, D]."""
        if self.units is not None:
            outputs = self.units.unstandardise(outputs)
        return frames_BKD[:, -1].float() + outputs if self.is_change else outputs


def build_mlp_dynamics(
    *, settings: MlpDynamicsSettings, spec: EnvironmentSpec, latent_dim: int, num_frames: int = 2
) -> MlpForwardDynamics:
    """The model for the frames of ``spec``."""
    part = spec.main_part
    assert isinstance(part, Vector), f"{spec.name}: found a main part of kind {part.kind}, expected a vector"
    return MlpForwardDynamics(
        settings=settings, name=spec.main, part=part, latent_dim=latent_dim, num_frames=num_frames
    )
