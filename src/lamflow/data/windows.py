"""What is gathered around a row, and how rows are drawn: no window crosses an episode, every transition is drawn equally often.

Shapes: N rows, M drawable rows, B batch, T positions of a window. Row numbers are int64.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lamflow.data.store import EpisodeArrays

_COMPARED_ROWS: Final = 4096
_AHEAD_STREAM: Final = 5_000_011
"""Keeps the draws of ``frames_ahead`` apart from the permutations of the same seed."""


FRAMES: Final = "observations"
"""The column of the main part of observations."""


class EpisodeBounds(NamedTuple):
    """``starts`` and ``lasts`` int64 [N]: the first and the last row of each row's episode."""

    starts: Tensor
    lasts: Tensor

    @classmethod
    def of(cls, arrays: EpisodeArrays, device: torch.device | None = None) -> EpisodeBounds:
        """Those of a split, on ``device``."""
        lasts = np.append(arrays.episode_starts[1:], arrays.num_rows) - 1
        lengths = lasts - arrays.episode_starts + 1
        return cls(*(torch.from_numpy(np.repeat(part, lengths)).to(device) for part in (arrays.episode_starts, lasts)))

    def left(self, rows: Tensor) -> Tensor:
        """int64 [B]: how many frames of its episode follow row t, for each t of ``rows`` int64 [B]."""
        return self.lasts[rows] - rows


@dataclass(frozen=True)
class WindowSpec:
    """What is gathered around a row t: the positions t - ``before`` .. t + ``after`` of its episode and, where ``ahead`` is not 0, behind
    them one more, t + k, with a k of 1 .. ``ahead`` that is drawn for each row.

    A transition has one position before and one after, a context of K frames K - 1 before, a segment of T frames T - 1 after; a
    pair of frames k steps apart is a position and one ahead. ``columns``: what is gathered there, by name.
    """

    before: int = 0
    after: int = 0
    columns: tuple[str, ...] = (FRAMES,)
    ahead: int = 0

    def __post_init__(self) -> None:
        assert min(self.before, self.after, self.ahead) >= 0, self

    @property
    def reach(self) -> tuple[int, int]:
        """How many rows before its own, and after it, a window may lie on."""
        return self.before, max(self.after, self.ahead)

    def with_columns(self, *names: str) -> WindowSpec:
        """The same positions with further columns."""
        return replace(self, columns=(*self.columns, *names))

    def positions(self, rows: Tensor, bounds: EpisodeBounds, ahead: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The rows int64 [B, T] of the windows of ``rows`` int64 [B], and where these lie inside their episodes, bool [B, T].

        Outside, before an episode's begin and after its end, its first or last row is repeated. ``ahead`` int64 [B]: how far
        ahead of its row the last position is, where the windows have such a one.
        """
        assert (ahead is None) == (self.ahead == 0), self
        wanted = rows[:, None] + torch.arange(-self.before, self.after + 1, device=rows.device)
        if ahead is not None:
            wanted = torch.cat([wanted, (rows + ahead)[:, None]], dim=1)
        found = wanted.clamp(bounds.starts[rows][:, None], bounds.lasts[rows][:, None])
        return found, found == wanted


TRANSITION: Final = WindowSpec(before=1, after=1)
"""(o_{t-1}, o_t, o_{t+1}): what inverse dynamics models see."""


class Window(NamedTuple):
    """The windows of B rows: ``columns`` [B, T, ...] by name, and ``inside`` bool [B, T], where they lie inside their episodes; elsewhere
    they repeat the first row of the episode, or its last. ``present``: the position of the row itself, 0 .. T - 1."""

    columns: dict[str, Tensor]
    inside: Tensor
    present: int

    @classmethod
    def of_frames(cls, frames_BT: Tensor, *, present: int = TRANSITION.before, inside: Tensor | None = None) -> Window:
        """Of frames [B, T, *frame_shape] alone; ``inside``: all of them, unless it is given."""
        everywhere = torch.ones(frames_BT.shape[:2], dtype=torch.bool, device=frames_BT.device)
        return cls({FRAMES: frames_BT}, everywhere if inside is None else inside, present)

    @property
    def frames(self) -> Tensor:
        """uint8 [B, T, *frame_shape], or of vectors float32."""
        return self.columns[FRAMES]

    def at(self, name: str, ahead: int = 0) -> Tensor:
        """A column at the rows themselves, or so many positions after them, [B, ...]."""
        return self.columns[name][:, self.present + ahead]


def transition_rows(arrays: EpisodeArrays) -> Tensor:
    """int64 [M]: rows with a next frame, and so with an action, known or not, that is all but the last of each episode, ascending."""
    last = np.append(arrays.episode_starts[1:], arrays.num_rows) - 1
    return torch.from_numpy(np.delete(np.arange(arrays.num_rows), last))


def labelled_transitions(arrays: EpisodeArrays) -> Tensor:
    """int64 [M]: of these the ones whose action is known."""
    rows = transition_rows(arrays)
    return rows[torch.from_numpy(arrays.is_labelled)[rows]]


def frames_ahead(left: Tensor, horizon: int, *, seed: int, step: int) -> Tensor:
    """int64 [B]: how far ahead each row of a step's batch looks, uniform in 1 .. min(``horizon``, ``left``).

    ``left`` int64 [B] is ``EpisodeBounds.left``; where it is 0, the row looks 1 ahead. A function of the arguments, so training resumes
    exactly at any step.
    """
    drawn = np.random.default_rng((seed, step, _AHEAD_STREAM)).random(len(left))
    reach = left.clamp(max=horizon)
    return 1 + (torch.from_numpy(drawn).to(left.device) * reach).long()


def frames_differ(frames_B: Tensor, others_B: Tensor, tolerance: float = 0) -> Tensor:
    """bool [B, ...]: which numbers of frames [B, ...] differ from those of others, by more than the ``tolerance`` of their store."""
    if tolerance == 0:
        return frames_B != others_B
    return (frames_B.float() - others_B.float()).abs() > tolerance


def effectful(arrays: EpisodeArrays) -> Tensor:
    """bool [N]: the row has a next frame, and it differs from the row's own (``frames_differ``)."""
    changed = np.zeros(arrays.num_rows, np.bool_)
    frames = torch.from_numpy(arrays.frames)
    for start in range(0, arrays.num_rows - 1, _COMPARED_ROWS):
        stop = min(start + _COMPARED_ROWS, arrays.num_rows - 1)
        differs = frames_differ(frames[start:stop], frames[start + 1 : stop + 1], arrays.frame_tolerance)
        changed[start:stop] = differs.flatten(1).any(1).numpy()
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
        return self.between(step * self.batch_size, (step + 1) * self.batch_size)

    def between(self, position: int, stop: int) -> Tensor:
        """int64: the rows from one position (0, 1, ...) through all epochs to another, which is above it."""
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
