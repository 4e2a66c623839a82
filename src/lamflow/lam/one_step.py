"""Latent action models of single transitions: inverse dynamics model -> quantiser -> forward dynamics model (LAPO, arXiv 2312.10812).

Shapes: B batch, K frames of a window, H and W frame sides, C frame channels, D latent width.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from lamflow.data.windows import TRANSITION, Window, WindowSpec
from lamflow.envs.spec import EnvironmentSpec
from lamflow.lam.model import LatentActionModel
from lamflow.lam.normalisation import LatentNorm
from lamflow.lam.one_step_settings import OneStepSettings
from lamflow.networks.encoders import build_encoder
from lamflow.networks.forward_dynamics import build_forward_dynamics
from lamflow.networks.symmetry import agent_direction, face_up, rotate_each
from lamflow.quantizers.interface import Quantized
from lamflow.training.loop import Loss


class OneStepLam(LatentActionModel):
    """Learns what happens between two frames well enough to predict the second."""

    settings: OneStepSettings
    window = TRANSITION

    def __init__(self, *, settings: OneStepSettings, spec: EnvironmentSpec) -> None:
        super().__init__()
        if settings.symmetry == "rotation" and spec.view != "full":
            raise ValueError(f"{spec.name}: found symmetry 'rotation', expected 'none' as its view is {spec.view!r}")
        self.settings = settings
        self.spec = spec
        latent_dim = settings.quantizer.latent_dim
        self.inverse_dynamics = build_encoder(settings.inverse_dynamics, num_frames=3, spec=spec, output_dim=latent_dim)
        self.normalisation = LatentNorm(latent_dim) if settings.normalise else nn.Identity()
        self.quantizer = settings.quantizer.build()
        self.forward_dynamics = build_forward_dynamics(settings.forward_dynamics, spec=spec, latent_dim=latent_dim)

    @property
    def training_window(self) -> WindowSpec:
        """With a horizon above 1, a frame ahead beside the transition."""
        horizon = self.settings.idm_horizon
        return replace(self.window, ahead=horizon) if horizon > 1 else self.window

    def loss(self, window: Window) -> Loss:
        """Reconstruction (mean ``prediction_loss``) + commitment.

        Of four frames the IDM sees the fourth, o_{t+k}, in the place of the third; it is not told k (LAOM).
        """
        windows_BKHWC = self.canonical(window.frames)
        quantized: Quantized = self.quantizer(self._latents(_seen_by_idm(windows_BKHWC)))
        reconstruction = self._prediction_loss(windows_BKHWC, quantized.latents).mean()
        commitment = self.settings.quantizer.loss_weight * quantized.commitment_loss
        return Loss(
            total=reconstruction + commitment,
            terms={"loss/reconstruction": reconstruction.detach(), "loss/commitment": commitment.detach()},
        )

    def canonical(self, windows_BKHWC: Tensor) -> Tensor:
        """Windows as the networks see them: with a rotation symmetry, turned so that the agent faces up in o_t (frame 1)."""
        return face_up(windows_BKHWC, present=1) if self.settings.symmetry == "rotation" else windows_BKHWC

    def encode(self, window: Window) -> Tensor:
        """The latents of transitions before quantisation, normalised if they are, float [B, D]."""
        return self._latents(self.canonical(window.frames))

    def _latents(self, windows_B3HWC: Tensor) -> Tensor:
        latents: Tensor = self.normalisation(self.inverse_dynamics(windows_B3HWC))
        return latents

    def _prediction_loss(self, windows_BKHWC: Tensor, latents_BD: Tensor) -> Tensor:
        return self.forward_dynamics.prediction_losses(windows_BKHWC[:, :2], latents_BD, windows_BKHWC[:, 2])

    def prediction_loss(self, window: Window, latents_BD: Tensor) -> Tensor:
        return self._prediction_loss(self.canonical(window.frames), latents_BD)

    def predict(self, window: Window, latents_BD: Tensor) -> Tensor:
        """The most likely next frame after the first two of a transition, uint8 [B, H, W, C]."""
        frames_B2HWC = window.frames[:, :2]
        predicted = self.forward_dynamics.most_likely(self.canonical(frames_B2HWC), latents_BD)
        if self.settings.symmetry == "rotation":
            return rotate_each(predicted, -agent_direction(frames_B2HWC[:, 1]))
        return predicted


def _seen_by_idm(windows_BKHWC: Tensor) -> Tensor:
    """The IDM's three frames of a window of three or four."""
    if windows_BKHWC.shape[1] == 3:
        return windows_BKHWC
    return torch.cat([windows_BKHWC[:, :2], windows_BKHWC[:, 3:]], dim=1)
