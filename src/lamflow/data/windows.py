"""Which rows make a window, and how rows are drawn: no window crosses an episode, every transition is drawn equally often.

Shapes: N rows, M drawable rows, B batch, K frames of context. Row numbers are int64.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from torch import Tensor

from lamflow.data.store import EpisodeArrays

_COMPARED_ROWS: Final = 65_536
_AHEAD_STREAM: Final = 5_000_011
"""Keeps the draws of ``frames_ahead`` apart from the permutations of the same seed."""


def starts_of_rows(arrays: EpisodeArrays) -> Tensor:
    """int64 [N]: the first row of each row's episode."""
    lengths = np.diff(arrays.episode_starts, append=arrays.num_rows)
    return torch.from_numpy(np.repeat(arrays.episode_starts, lengths))


def transition_rows(arrays: EpisodeArrays) -> Tensor:
    """int64 [M]: rows with an action and a next frame, that is all but the last of each episode, ascending."""
    last = np.append(arrays.episode_starts[1:], arrays.num_rows) - 1
    return torch.from_numpy(np.delete(np.arange(arrays.num_rows), last))


def context_rows(rows: Tensor, starts: Tensor, num_frames: int) -> Tensor:
    """int64 [B, K]: t - K + 1 .. t for each t of ``rows`` int64 [B], oldest first.

    ``starts`` int64 [N] is ``starts_of_rows``. Before the start of an episode its first row is repeated.
    """
    back = torch.arange(num_frames - 1, -1, -1, device=rows.device)
    return torch.maximum(rows[:, None] - back, starts[rows][:, None])


def window_rows(rows: Tensor, starts: Tensor) -> Tensor:
    """int64 [B, 3]: t - 1, t, t + 1 for each t of ``rows`` int64 [B], which must have next frames.

    ``starts`` int64 [N] is ``starts_of_rows``. On the first row of an episode t - 1 is t.
    """
    return torch.stack([torch.maximum(rows - 1, starts[rows]), rows, rows + 1], dim=1)


def frames_left(rows: Tensor, starts: Tensor) -> Tensor:
    """int64 [B]: how many frames of its episode follow row t, for each t of ``rows`` int64 [B].

    ``starts`` int64 [N] is ``starts_of_rows``; it ascends.
    """
    return torch.searchsorted(starts, starts[rows], right=True) - 1 - rows


def frames_ahead(left: Tensor, horizon: int, *, seed: int, step: int) -> Tensor:
    """int64 [B]: how far ahead each row of a step's batch looks, uniform in 1 .. min(``horizon``, ``left``).

    ``left`` int64 [B] is ``frames_left``, at least 1. A function of the arguments, so training resumes exactly at any step.
    """
    drawn = np.random.default_rng((seed, step, _AHEAD_STREAM)).random(len(left))
    reach = left.clamp(max=horizon)
    return 1 + (torch.from_numpy(drawn).to(left.device) * reach).long()


def effectful(arrays: EpisodeArrays) -> Tensor:
    """bool [N]: the row has a next frame, and it differs from the row's own."""
    changed = np.zeros(arrays.num_rows, np.bool_)
    frames = arrays.observations
    for start in range(0, arrays.num_rows - 1, _COMPARED_ROWS):
        stop = min(start + _COMPARED_ROWS, arrays.num_rows - 1)
        differs = frames[start:stop] != frames[start + 1 : stop + 1]
        changed[start:stop] = differs.reshape(stop - start, -1).any(axis=1)
    changed[np.append(arrays.episode_starts[1:], arrays.num_rows) - 1] = False
    return torch.from_numpy(changed)


class TransitionStream:
    """Endless batches of ``rows`` int64 [M]: one random permutation after another, each row once an epoch.

    The batch of a step depends on (rows, batch_size, seed, step) alone, so training resumes exactly at any step. The
    last batch of an epoch is filled from the next one.
    """

    def __init__(self, rows: Tensor, batch_size: int, seed: int) -> None:
        if len(rows) == 0 or batch_size <= 0:
            raise ValueError(f"found {len(rows)} rows and batch size {batch_size}, expected at least one of each")
        self.rows = rows
        self.batch_size = batch_size
        self.seed = seed
        self._epoch = -1
        self._permuted = rows

    @property
    def steps_per_epoch(self) -> float:
        """Batches that make one pass over the rows."""
        return len(self.rows) / self.batch_size

    def batch(self, step: int) -> Tensor:
        """int64 [B]: the rows of step ``step`` (0, 1, ...)."""
        position, stop = step * self.batch_size, (step + 1) * self.batch_size
        parts = []
        while position < stop:
            epoch, offset = divmod(position, len(self.rows))
            part = self._permutation(epoch)[offset : offset + stop - position]
            parts.append(part)
            position += len(part)
        return torch.cat(parts)

    def _permutation(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            order = np.random.default_rng((self.seed, epoch)).permutation(len(self.rows))
            self._permuted = self.rows[torch.from_numpy(order).to(self.rows.device)]
            self._epoch = epoch
        return self._permuted
