"""Episodes as a policy sees them: contexts of observations, drawn by row.

Shapes: B batch, K context frames.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lamflow.config import PolicySettings
from lamflow.data.row_memory import take_rows
from lamflow.data.tensors import EpisodeTensors
from lamflow.data.windows import context_rows
from lamflow.policies.network import PolicyInputs


def policy_inputs(data: EpisodeTensors, rows: Tensor, settings: PolicySettings) -> PolicyInputs:
    """The inputs of a policy at ``rows`` int64 [B] of ``data``, on its device."""
    rows = rows.to(data.device)
    back = torch.arange(settings.context - 1, -1, -1, device=data.device)
    return PolicyInputs(
        frames=data.contexts(rows, settings.context),
        begun=rows[:, None] - back >= data.starts[rows][:, None],
        proprioception=take_rows(data.proprioception, context_rows(rows, data.starts, settings.context)),
        task=data.task[rows],
    )
