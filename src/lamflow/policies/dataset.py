"""Episodes in memory as a policy sees them: contexts of observations, drawn by row.

Shapes: N rows, B batch, K context frames.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lamflow.config import PolicySettings
from lamflow.data.store import EpisodeArrays
from lamflow.data.windows import gather_context, gather_windows, starts_of_rows
from lamflow.policies.network import PolicyInputs


class EpisodeTensors:
    """The arrays of a split as tensors, and what learners gather from them."""

    def __init__(self, arrays: EpisodeArrays) -> None:
        self.observations = torch.from_numpy(arrays.observations)
        self.proprioception = torch.from_numpy(arrays.proprioception)
        self.task = torch.from_numpy(arrays.task)
        self.actions = torch.from_numpy(arrays.actions)
        self.starts = starts_of_rows(arrays)

    def policy_inputs(self, rows: Tensor, settings: PolicySettings) -> PolicyInputs:
        """The inputs of a policy at ``rows`` int64 [B]."""
        back = torch.arange(settings.context - 1, -1, -1)
        return PolicyInputs(
            frames=gather_context(self.observations, rows, self.starts, settings.context),
            begun=rows[:, None] - back >= self.starts[rows][:, None],
            proprioception=gather_context(self.proprioception, rows, self.starts, settings.context),
            task=self.task[rows],
        )

    def windows(self, rows: Tensor) -> Tensor:
        """(o_{t-1}, o_t, o_{t+1}) at ``rows`` int64 [B]: uint8 [B, 3, H, W, 2]."""
        return torch.stack(gather_windows(self.observations, rows, self.starts), dim=1)
