"""Flow matching of vectors: a network that predicts the clean vector, and the way from noise to it.

A noisy vector is z_t = (1 - t) noise + t x with time t from 0 (noise) to 1 (clean). The network predicts x (x-prediction: Li & He 2025,
"Back to Basics: Let Denoising Generative Models Denoise"), from which the velocity follows: v = (x - z_t) / (1 - t).

Shapes: ... any leading dimensions, D vector width, F feature width.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from lamflow.networks.perceptron import mlp

TIME_WIDTH = 8
"""Entries of the embedding of the time: cosines of pi k t."""
TIME_POWER = 1.5
"""Steps are shorter towards the clean end, where modes part: with the exact prediction of two equal, sharp modes (+-1, deviation .05), four
steps leave 1% of the draws between them; of equal length, 7%."""


def step_times(steps: int) -> list[float]:
    """The times at which ``steps`` Euler steps begin, and 1, at which the last one ends."""
    return [1 - (1 - step / steps) ** TIME_POWER for step in range(steps + 1)]


def noisy(clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
    """z_t of vectors and noise [..., D] at times [...]."""
    return torch.lerp(noise, clean, times[..., None])


def integrate(predict: Callable[[Tensor, Tensor], Tensor], noise: Tensor, steps: int) -> Tensor:
    """Euler steps from ``noise`` [..., D] at time 0 along v to time 1; the last one ends on what is predicted at its beginning.

    ``predict``: (z_t [..., D], times [...]) to x [..., D].
    """
    vectors = noise
    for time, following in itertools.pairwise(step_times(steps)):
        clean = predict(vectors, vectors.new_full(vectors.shape[:-1], time))
        vectors = torch.lerp(vectors, clean, (following - time) / (1 - time))
    return vectors


class FlowNetwork(nn.Module):
    """A ReLU network that predicts a clean vector from a noisy one, its time, and features."""

    frequencies: Tensor

    def __init__(self, *, vector_dim: int, feature_dim: int, hidden_widths: Sequence[int]) -> None:
        super().__init__()
        first, *others = hidden_widths
        self.register_buffer("frequencies", math.pi * torch.arange(TIME_WIDTH), persistent=False)
        self.features = nn.Linear(feature_dim, first, bias=False)
        self.noisy = nn.Linear(vector_dim + TIME_WIDTH, first)
        self.clean = mlp(first, others, vector_dim)

    def forward(self, vectors: Tensor, times: Tensor, features: Tensor) -> Tensor:
        """Noisy vectors [..., D], times [...] and features [..., F], whose leading dimensions may be 1, to clean vectors [..., D]."""
        embedded = torch.cos(times[..., None] * self.frequencies)
        hidden = self.noisy(torch.cat([vectors, embedded], dim=-1)) + self.features(features)
        clean: Tensor = self.clean(torch.relu(hidden))
        return clean
