"""Distributions over latents: what a policy's outputs say where a mean is not enough.

Where a state leaves several actions open, their latents' mean may be the latent of none of them. These heads keep them apart.

Shapes: B batch, O outputs of the policy, D latent width, S latents drawn.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from lamflow.policies.settings import HeadSettings


class LatentHead(nn.Module):
    """A distribution over latents, given a policy's outputs [B, ``num_outputs``].

    Inside, latents are standardised by ``mean`` and ``deviation`` float32 [D], which are kept with the weights.
    """

    is_random: ClassVar[bool] = True
    """Whether ``draw`` uses its generator."""

    mean: Tensor
    deviation: Tensor
    settings: HeadSettings

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
