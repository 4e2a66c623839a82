"""The arrays of a split as tensors on the learner's device, and the windows that learners gather from them.

Shapes: N rows, B batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lamflow.data.store import EpisodeArrays
from lamflow.data.windows import gather_windows, starts_of_rows, transition_rows
from lamflow.training.precision import default_device


class EpisodeTensors:
    """``observations`` uint8 [N, *frame_shape], ``proprioception`` uint8 [N, P], ``task`` uint8 [N, G], ``actions`` and ``starts``
    (first row of each row's episode) int64 [N], all on ``device``; ``rows`` int64 [M]: those with an action and a next frame."""

    def __init__(self, arrays: EpisodeArrays, device: torch.device | None = None) -> None:
        self.device = device or default_device()
        self.observations = torch.from_numpy(arrays.observations).to(self.device)
        self.proprioception = torch.from_numpy(arrays.proprioception).to(self.device)
        self.task = torch.from_numpy(arrays.task).to(self.device)
        self.actions = torch.from_numpy(arrays.actions).to(self.device)
        self.starts = starts_of_rows(arrays).to(self.device)
        self.rows = transition_rows(arrays).to(self.device)

    def windows(self, rows: Tensor) -> Tensor:
        """(o_{t-1}, o_t, o_{t+1}) at ``rows`` int64 [B]: uint8 [B, 3, *frame_shape]."""
        return torch.stack(gather_windows(self.observations, rows.to(self.device), self.starts), dim=1)

    def sample(self, count: int) -> Tensor:
        """At most ``count`` of ``rows``, always the same ones."""
        order = torch.randperm(len(self.rows), generator=torch.Generator().manual_seed(0))
        return self.rows[order[:count].to(self.device)]
