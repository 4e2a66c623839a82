"""Multi-layer perceptrons."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import nn


def mlp(input_dim: int, hidden_widths: Sequence[int], output_dim: int) -> nn.Sequential:
    """A ReLU network; linear without hidden layers."""
    widths = [input_dim, *hidden_widths]
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], output_dim))
