"""Latent action models of single transitions: inverse dynamics model -> quantiser -> forward dynamics model (LAPO, arXiv 2312.10812).

Shapes: B batch, K frames of a window, P frames up to the present one, H and W frame sides, C frame channels, D latent width. Of vectors a
frame is float32 [entries] in place of uint8 [H, W, C].
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from lamflow.data.windows import Window, WindowSpec
from lamflow.envs.spec import EnvironmentSpec
from lamflow.lam.model import LatentActionModel, Predicted
from lamflow.lam.normalisation import LatentNorm
from lamflow.lam.one_step_settings import OneStepSettings
from lamflow.networks.encoders import build_encoder
from lamflow.networks.forward_dynamics import TellingDynamics, build_forward_dynamics, training_losses
from lamflow.networks.symmetry import agent_direction, face_up, rotate_each
from lamflow.quantizers.interface import Quantized
from lamflow.training.loop import Loss


class OneStepLam(LatentActionModel):
    """Learns what happens between two frames well enough to predict the second.

    A window holds ``context`` frames before the present one (o_{t-1} alone in LAPO), the present one, and the next. Before an episode's
    begin its first frame is repeated, as LAPO does.
    """

    settings: OneStepSettings

    def __init__(self, *, settings: OneStepSettings, spec: EnvironmentSpec) -> None:
        super().__init__()
        if settings.symmetry == "rotation" and spec.view != "full":
            raise ValueError(f"{spec.name}: found symmetry 'rotation', expected 'none' as its view is {spec.view!r}")
        self.settings = settings
        self.spec = spec
        self.window = WindowSpec(before=settings.context, after=1)
        self.num_seen = settings.context + 1
        latent_dim = settings.quantizer.latent_dim
        self.inverse_dynamics = build_encoder(
            settings.inverse_dynamics, num_frames=self.num_seen + 1, spec=spec, output_dim=latent_dim
        )
        self.normalisation = LatentNorm(latent_dim) if settings.normalise else nn.Identity()
        self.quantizer = settings.quantizer.build()
        self.forward_dynamics = build_forward_dynamics(
            settings.forward_dynamics, spec=spec, latent_dim=latent_dim, num_frames=self.num_seen
        )

    @property
    def training_window(self) -> WindowSpec:
        """With a horizon above 1, a frame ahead beside the transition."""
        horizon = self.settings.idm_horizon
        return replace(self.window, ahead=horizon) if horizon > 1 else self.window

    def loss(self, window: Window) -> Loss:
        """Reconstruction (mean ``prediction_loss``, or the same in standard deviations of the change) + commitment.

        With a horizon the IDM sees the last frame of the window, o_{t+k}, in the place of o_{t+1}; it is not told k (LAOM).
        """
        windows_BKHWC = self.canonical(window.frames)
        quantized: Quantized = self.quantizer(self._latents(self._seen_by_idm(windows_BKHWC)))
        dynamics = self.settings.forward_dynamics
        seen_BPHWC, next_BHWC = windows_BKHWC[:, : self.num_seen], windows_BKHWC[:, self.num_seen]
        losses = training_losses(dynamics, self.forward_dynamics, seen_BPHWC, quantized.latents, next_BHWC)
        minimised, reconstruction = (losses_B.mean() for losses_B in losses)
        commitment = self.settings.quantizer.loss_weight * quantized.commitment_loss
        terms = {"loss/reconstruction": reconstruction.detach(), "loss/commitment": commitment.detach()}
        if dynamics.learns_standardised:
            terms["loss/standardised"] = minimised.detach()
        return Loss(total=minimised + commitment, terms=terms)

    def canonical(self, windows_BKHWC: Tensor) -> Tensor:
        """Windows as the networks see them: with a rotation symmetry, turned so that the agent faces up in o_t."""
        turns = self.settings.symmetry == "rotation"
        return face_up(windows_BKHWC, present=self.window.before) if turns else windows_BKHWC

    def encode(self, window: Window) -> Tensor:
        """The latents of transitions before quantisation, normalised if they are, float [B, D]."""
        return self._latents(self.canonical(window.frames))

    def _latents(self, windows_BKHWC: Tensor) -> Tensor:
        latents: Tensor = self.normalisation(self.inverse_dynamics(windows_BKHWC))
        return latents

    def prediction_loss(self, window: Window, latents_BD: Tensor) -> Tensor:
        windows_BKHWC = self.canonical(window.frames)
        seen_BPHWC, next_BHWC = windows_BKHWC[:, : self.num_seen], windows_BKHWC[:, self.num_seen]
        losses_B: Tensor = self.forward_dynamics.prediction_losses(seen_BPHWC, latents_BD, next_BHWC)
        return losses_B

    def predict(self, window: Window, latents_BD: Tensor) -> Tensor:
        """The most likely next frame after those of a window up to the present one, uint8 [B, H, W, C]."""
        return self.predicted(window, latents_BD).frame

    def predicted(self, window: Window, latents_BD: Tensor) -> Predicted:
        frames_BPHWC = window.frames[:, : self.num_seen]
        seen_BPHWC, dynamics = self.canonical(frames_BPHWC), self.forward_dynamics
        if not isinstance(dynamics, TellingDynamics):
            return Predicted(self._turned_back(dynamics.most_likely(seen_BPHWC, latents_BD), frames_BPHWC), ())
        outputs = dynamics(seen_BPHWC, latents_BD)
        predicted = self._turned_back(dynamics.frame_of(outputs, seen_BPHWC), frames_BPHWC)
        return Predicted(predicted, outputs if isinstance(outputs, tuple) else (outputs,))

    def _turned_back(self, next_BHWC: Tensor, frames_BPHWC: Tensor) -> Tensor:
        """A prediction as the frames are that it follows, and not as the networks see them."""
        turns = self.settings.symmetry == "rotation"
        return rotate_each(next_BHWC, -agent_direction(frames_BPHWC[:, -1])) if turns else next_BHWC

    def _seen_by_idm(self, windows_BKHWC: Tensor) -> Tensor:
        """The frames up to the present one, and the last: the next, or one ahead where the window has such a one."""
        if windows_BKHWC.shape[1] == self.num_seen + 1:
            return windows_BKHWC
        return torch.cat([windows_BKHWC[:, : self.num_seen], windows_BKHWC[:, self.num_seen + 1 :]], dim=1)
