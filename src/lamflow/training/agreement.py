"""How well numbers are predicted.

Shapes: N samples, A columns.
"""

from __future__ import annotations

import torch
from torch import Tensor


def r_squared(predicted_NA: Tensor, true_NA: Tensor) -> Tensor:
    """float64 [A]: the share of the variance of each column of ``true_NA`` float [N, A] that the prediction explains, 1 - error / variance.

    At most 1; 0 for a prediction that is always the mean, below 0 for a worse one; ``nan`` where a column does not vary.
    """
    predicted, true = predicted_NA.double(), true_NA.double()
    error, variance = (predicted - true).square().sum(0), (true - true.mean(0)).square().sum(0)
    return torch.where(variance > 0, 1 - error / variance, torch.nan)
