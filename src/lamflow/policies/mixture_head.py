"""A Gaussian mixture over latents.

Shapes: B batch, O outputs of the policy, D latent width, K components.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from lamflow.policies.latent_heads import LatentHead
from lamflow.policies.mixture_settings import MixtureSettings

MIN_DEVIATION = 0.1
"""Of a component, in deviations of the data: latents that lie close together would raise the likelihood without bound."""
_LOG_FLOOR = math.log(MIN_DEVIATION)


class MixtureHead(LatentHead):
    """A Gaussian mixture with diagonal deviations: a logit, D means and D log-deviations a component (Bishop 1994, "Mixture density
    networks").

    Components start at random places, to which the outputs are added. ``draw`` answers the components' means with their weights: the
    noise around them is left out, and nothing is random.
    """

    is_random: ClassVar[bool] = False

    def __init__(self, *, settings: MixtureSettings, latent_dim: int, feature_dim: int = 0) -> None:
        super().__init__(latent_dim=latent_dim, num_outputs=settings.components * (1 + 2 * latent_dim))
        self.settings = settings
        self.centres = nn.Parameter(torch.randn(settings.components, latent_dim))

    def distribution(self, outputs_BO: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of standardised latents: log-weights [B, K], means and log-deviations [B, K, D], the latter above log ``MIN_DEVIATION``."""
        parts = outputs_BO.float().unflatten(1, (len(self.centres), -1))
        logits, means, raw = parts.split([1, self.latent_dim, self.latent_dim], dim=-1)
        log_deviations = _LOG_FLOOR + functional.softplus(raw - _LOG_FLOOR)
        return logits[..., 0].log_softmax(-1), self.centres + means, log_deviations

    def loss(self, outputs_BO: Tensor, latents_BD: Tensor) -> Tensor:
        """Negative log-likelihood of the standardised latents, nats a dimension."""
        log_weights, means, log_deviations = self.distribution(outputs_BO)
        distances = (self._standard(latents_BD)[:, None] - means) * (-log_deviations).exp()
        densities = -(0.5 * distances.square() + log_deviations + 0.5 * math.log(2 * math.pi)).sum(-1)
        return -(log_weights + densities).logsumexp(-1).mean() / self.latent_dim

    def draw(self, outputs_BO: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        log_weights, means, _ = self.distribution(outputs_BO)
        return log_weights.exp(), self._unstandard(means)
