"""Distributions over latents: what a policy's outputs say where a mean is not enough.

Where a state leaves several actions open, their latents' mean may be the latent of none of them. These heads keep them apart.

Shapes: B batch, O outputs of the policy, D latent width, K components, S latents drawn.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from lamflow.networks.flow import FlowNetwork, integrate, noisy
from lamflow.policies.settings import FlowSettings, MixtureSettings

MIN_DEVIATION = 0.1
"""Of a mixture's components, in deviations of the data: latents that lie close together would raise the likelihood without bound."""
_LOG_FLOOR = math.log(MIN_DEVIATION)


class LatentHead(nn.Module):
    """A distribution over latents, given a policy's outputs [B, ``num_outputs``].

    Inside, latents are standardised by ``mean`` and ``deviation`` float32 [D], which are kept with the weights.
    """

    mean: Tensor
    deviation: Tensor
    settings: MixtureSettings | FlowSettings

    def __init__(self, *, latent_dim: int, num_outputs: int) -> None:
        super().__init__()
        self.latent_dim, self.num_outputs = latent_dim, num_outputs
        self.register_buffer("mean", torch.zeros(latent_dim))
        self.register_buffer("deviation", torch.ones(latent_dim))

    def standardise(self, mean_D: Tensor, deviation_D: Tensor) -> None:
        """Set what latents are standardised by; a dimension in which they do not differ, but by rounding, is centred only."""
        self.mean.copy_(mean_D)
        self.deviation.copy_(torch.where(deviation_D > 1e-6 * mean_D.abs(), deviation_D, 1.0))

    def loss(self, outputs_BO: Tensor, latents_BD: Tensor) -> Tensor:
        """What is minimised, a scalar."""
        raise NotImplementedError

    def draw(self, outputs_BO: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Weights float32 [B, S], which sum to 1, of latents float32 [B, S, D]; ``generator`` is of the CPU."""
        raise NotImplementedError

    def _standard(self, latents: Tensor) -> Tensor:
        return (latents - self.mean) / self.deviation

    def _unstandard(self, vectors: Tensor) -> Tensor:
        return self.mean + self.deviation * vectors


class MixtureHead(LatentHead):
    """A Gaussian mixture with diagonal deviations: a logit, D means and D log-deviations a component (Bishop 1994, "Mixture density
    networks").

    Components start at random places, to which the outputs are added. ``draw`` answers the components' means with their weights: the
    noise around them is left out, and nothing is random.
    """

    def __init__(self, *, settings: MixtureSettings, latent_dim: int) -> None:
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


class FlowHead(LatentHead):
    """Flow matching with x-prediction on top of the policy's outputs, which are features here (see ``models.flow``).

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


def build_head(settings: MixtureSettings | FlowSettings, *, latent_dim: int, feature_dim: int) -> LatentHead:
    """The head that the settings say; ``feature_dim``: outputs of a policy whose head takes any number of them."""
    if isinstance(settings, MixtureSettings):
        return MixtureHead(settings=settings, latent_dim=latent_dim)
    return FlowHead(settings=settings, latent_dim=latent_dim, feature_dim=feature_dim)
