"""What a latent action model is to the rest of lamflow.

Shapes: B batch, H and W frame sides, C frame channels, D latent width, T codes a frame (codebooks x tokens).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lamflow.data.windows import Window, WindowSpec
from lamflow.envs.spec import EnvironmentSpec
from lamflow.lam.settings import LamSettings
from lamflow.quantizers.interface import Quantizer
from lamflow.training.loop import Loss


class Latents(NamedTuple):
    """``continuous`` float32 [B, D] before quantisation, ``quantized`` float32 [B, D], ``codes`` int64 [B, T]."""

    continuous: Tensor
    quantized: Tensor
    codes: Tensor


class Predicted(NamedTuple):
    """``frame`` as ``LatentActionModel.predict`` answers it, and the ``outputs`` [B, ...] of the network behind it."""

    frame: Tensor
    outputs: tuple[Tensor, ...]


class LatentActionModel(nn.Module):
    """Learns what happens between frames well enough to predict them: that is the latent action of a transition.

    ``window``: what it sees around a row to label its transition, which is what all but its training ask for; the next frame is in it, as
    predictions are judged by that. Frames are those of the environment ``spec``, on the model's device.
    """

    settings: LamSettings
    spec: EnvironmentSpec
    quantizer: Quantizer
    window: WindowSpec

    @property
    def training_window(self) -> WindowSpec:
        """What its training sees around a row."""
        return self.window

    def loss(self, window: Window) -> Loss:
        """What is minimised, of windows of ``training_window``."""
        raise NotImplementedError

    def encode(self, window: Window) -> Tensor:
        """The latents before quantisation, float [B, D], which a head for few action labels reads, too."""
        raise NotImplementedError

    def prediction_loss(self, window: Window, latents_BD: Tensor) -> Tensor:
        """What the prediction of o_{t+1} costs, float32 [B].

        Grids: the cross-entropy of the true frame, summed over cells and channels, in nats. Pixels: the mean squared error
        over pixels and channels, black and white being 1 apart. Vectors: the mean squared error over entries, in their own units.
        """
        raise NotImplementedError

    def predict(self, window: Window, latents_BD: Tensor) -> Tensor:
        """The most likely o_{t+1} after the frames up to the present one, uint8 [B, H, W, C], or of vectors float32 [B, entries]."""
        raise NotImplementedError

    def predicted(self, window: Window, latents_BD: Tensor) -> Predicted:
        """What ``predict`` answers, and what that is made of; nothing where a kind does not tell.

        Grids: logits of tiles and of colours, [B, categories, H, W] each. Pixels: float [B, 3, H, W], black -.5 and white .5.
        Vectors: the output [B, entries] in the units of the model's ``target``. With a rotation symmetry, all of it of the frame turned so
        that the agent faced up in o_t.
        """
        return Predicted(self.predict(window, latents_BD), ())

    @torch.no_grad()
    def label(self, window: Window) -> Latents:
        """The latent actions of transitions."""
        continuous = self.encode(window).float()
        quantized = self.quantizer(continuous)
        return Latents(continuous, quantized.latents, quantized.codes)
