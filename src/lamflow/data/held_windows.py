"""Windows of rows that are in memory with all that belongs to them: nothing else can be gathered.

Shapes: B batch, M rows in memory, T positions of a window. Row numbers are int64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from torch import Tensor

from lamflow.data.row_memory import RowMemory, take_rows
from lamflow.data.windows import EpisodeBounds, TransitionStream, Window, WindowSpec, frames_ahead
from lamflow.training.processes import share_of

INFERENCE_BATCH: Final = {"cpu": 256, "cuda": 1024}
"""Rows that a network answers at once outside of training: a context of frames is 12 kB a row, LAPO's first layer 1 MB."""


def inference_batches(rows: Tensor) -> tuple[Tensor, ...]:
    """``rows`` [M, ...] in parts of at most ``INFERENCE_BATCH``."""
    return rows.split(INFERENCE_BATCH[rows.device.type])


@dataclass(frozen=True)
class Gatherer:
    """Gathers the windows of ``spec``: ``narrow`` columns [N, ...] of a whole split by name, the others from ``memory``, which has what
    belongs to the rows that are asked for."""

    spec: WindowSpec
    bounds: EpisodeBounds
    narrow: Mapping[str, Tensor]
    memory: RowMemory

    def gather(self, rows: Tensor, ahead: Tensor | None = None) -> Window:
        """The windows of ``rows`` int64 [B]; ``ahead``: see ``WindowSpec.positions``."""
        wanted, inside = self.spec.positions(rows, self.bounds, ahead)
        columns = {
            name: take_rows(self.narrow[name], wanted) if name in self.narrow else self.memory.take(name, wanted, rows)
            for name in self.spec.columns
        }
        return Window(columns, inside, self.spec.before)


@dataclass(frozen=True)
class HeldWindows(Gatherer):
    """Those of ``rows`` int64 [M], which are in memory."""

    rows: Tensor

    def windows(self) -> Iterator[Window]:
        """All of them in order, as ``inference_batches``: those of a whole split would not fit where frames are large."""
        for part in inference_batches(self.rows):
            yield self.gather(part)

    def at(self, name: str) -> Tensor:
        """A column at the rows themselves, [M, ...]."""
        return replace(self, spec=WindowSpec(columns=(name,))).gather(self.rows).at(name)

    def stream(self, batch_size: int, seed: int) -> WindowStream:
        """Endless batches of them; see ``TransitionStream``."""
        return WindowStream(self, TransitionStream(self.rows, batch_size, seed).batch, seed)


@dataclass(frozen=True)
class Section(HeldWindows):
    """The rows ``start`` .. ``stop`` - 1 of a split, until the next section is asked for; ``rows`` are those of interest."""

    start: int
    stop: int


@dataclass(frozen=True)
class WindowStream:
    """Endless batches of windows, each a function of its step (0, 1, ...) alone. ``rows`` answers the rows of a step, int64 [B], of all
    processes that share the training; ``gatherer`` has their windows until the next step is asked for."""

    gatherer: Gatherer
    rows: Callable[[int], Tensor]
    seed: int

    def window(self, step: int) -> Window:
        """This process's windows of a step."""
        rows, horizon = self.rows(step), self.gatherer.spec.ahead
        if not horizon:
            return self.gatherer.gather(share_of(rows))
        ahead = frames_ahead(self.gatherer.bounds.left(rows), horizon, seed=self.seed, step=step)
        return self.gatherer.gather(share_of(rows), share_of(ahead))
