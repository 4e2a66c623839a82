"""Flow matching of latents.

Shapes: B batch, O outputs of the policy, D latent width, S latents drawn.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from lamflow.networks.flow import FlowNetwork, integrate, noisy
from lamflow.policies.flow_settings import FlowSettings
from lamflow.policies.latent_heads import LatentHead


class FlowHead(LatentHead):
    """Flow matching with x-prediction on top of the policy's outputs, which are features here (see ``networks.flow``).

    The loss is the plain one on x, with times drawn uniformly. With a loss on velocities (that paper's choice), a weight of
    1 / (1 - t)^2, uniform times near 1 outweigh all others, although few Euler steps hardly ask there; frequencies of modes suffer.
    ``draw`` answers ``samples`` latents of equal weight, from noise of the generator.
    """

    def __init__(self, *, settings: FlowSettings, latent_dim: int, feature_dim: int) -> None:
        super().__init__(latent_dim=latent_dim, num_outputs=feature_dim)
        self.settings: FlowSettings = settings
        self.network = FlowNetwork(vector_dim=latent_dim, feature_dim=feature_dim, hidden_widths=settings.hidden_widths)

    def loss(self, outputs_BO: Tensor, latents_BD: Tensor) -> Tensor:
        """Mean squared error of the predicted standardised latents, with noise and times of torch's own generator."""
        clean = self._standard(latents_BD)
        times = torch.rand(len(clean), device=clean.device)
        predicted = self.network(noisy(clean, torch.randn_like(clean), times), times, outputs_BO)
        return functional.mse_loss(predicted.float(), clean)

    def draw(self, outputs_BO: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        batch, samples = len(outputs_BO), self.settings.samples
        noise = torch.randn(batch, samples, self.latent_dim, generator=generator).to(outputs_BO.device)
        features = outputs_BO[:, None]
        vectors = integrate(
            lambda vectors, times: self.network(vectors, times, features).float(),
            noise,
            self.settings.integration_steps,
        )
        weights = torch.full((batch, samples), 1 / samples, device=vectors.device)
        return weights, self._unstandard(vectors)
