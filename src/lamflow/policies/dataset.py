"""Episodes in memory as a policy sees them: contexts of observations, drawn by row.

Shapes: B batch, K context frames.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lamflow.config import PolicySettings
from lamflow.data.tensors import EpisodeTensors
from lamflow.data.windows import gather_context
from lamflow.policies.network import PolicyInputs

INFERENCE_BATCH = 256
"""Rows that a network answers at once outside of training: a context of frames is 12 kB a row, LAPO's first layer 1 MB."""


def policy_inputs(data: EpisodeTensors, rows: Tensor, settings: PolicySettings) -> PolicyInputs:
    """The inputs of a policy at ``rows`` int64 [B] of ``data``, on its device."""
    rows = rows.to(data.device)
    back = torch.arange(settings.context - 1, -1, -1, device=data.device)
    return PolicyInputs(
        frames=gather_context(data.observations, rows, data.starts, settings.context),
        begun=rows[:, None] - back >= data.starts[rows][:, None],
        proprioception=gather_context(data.proprioception, rows, data.starts, settings.context),
        task=data.task[rows],
    )
