"""A split cut into segments of rows, and the order in which training sees them when they do not fit into memory at once.

Shapes: N rows, M drawable rows, S segments. Row numbers are int64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Segments:
    """``num_rows`` rows in consecutive segments of ``length``; the last may be shorter.

    In memory a segment has ``before`` more rows ahead of it and ``after`` behind it, so that all that is gathered for one of its
    rows (a window, a context) lies with it.
    """

    num_rows: int
    length: int
    before: int
    after: int = 1

    @property
    def count(self) -> int:
        return -(-self.num_rows // self.length)

    @property
    def capacity(self) -> int:
        """Rows, at most, of a segment in memory."""
        return self.before + self.length + self.after

    def span(self, segment: int) -> tuple[int, int]:
        """First row, and one past the last, of a segment in memory."""
        start = segment * self.length
        return max(0, start - self.before), min(start + self.length + self.after, self.num_rows)

    def bounds(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64 [S + 1]: which of the ascending ``rows`` are in segment s: those from entry s to entry s + 1."""
        return np.searchsorted(rows, np.arange(self.count + 1) * self.length)


class InOrder:
    """The segments one after another, ``segments_a_block`` in a block, and their rows in ascending order."""

    def __init__(self, rows: NDArray[np.int64], segments: Segments, segments_a_block: int) -> None:
        self._rows = rows
        self._bounds = segments.bounds(rows)
        self._blocks = _chunked(np.arange(segments.count), segments_a_block)

    @property
    def num_blocks(self) -> int:
        return len(self._blocks)

    def segments_of(self, number: int) -> NDArray[np.int64]:
        """The segments of block ``number`` (0, 1, ...)."""
        return self._blocks[number]

    def rows_of(self, number: int) -> NDArray[np.int64]:
        """The rows of block ``number``."""
        block = self._blocks[number]
        return self._rows[self._bounds[block[0]] : self._bounds[block[-1] + 1]]


class AtRandom:
    """Endlessly one epoch after another: a random permutation of the segments that hold some of ``rows`` int64 [M]. In blocks of at
    most ``segments_a_block``, each of whose rows are in a random order again.

    Blocks are numbered through all epochs, and so are the positions of rows. Both are functions of the arguments and ``seed``.
    """

    def __init__(self, rows: NDArray[np.int64], segments: Segments, segments_a_block: int, seed: int) -> None:
        self._rows = np.sort(rows)
        self._bounds = segments.bounds(self._rows)
        self._used = np.flatnonzero(np.diff(self._bounds))
        self._seed = seed
        self._segments_a_block = segments_a_block
        self._epoch = lru_cache(maxsize=2)(self._make_epoch)
        self.blocks_an_epoch = -(-len(self._used) // segments_a_block)

    @property
    def fewest_rows(self) -> int:
        """Every block has at least this many rows."""
        sizes = np.sort(np.diff(self._bounds)[self._used])
        return int(sizes[: len(self._used) // self.blocks_an_epoch].sum())

    def segments_of(self, number: int) -> NDArray[np.int64]:
        """The segments of block ``number`` (0, 1, ...)."""
        epoch, block = divmod(number, self.blocks_an_epoch)
        return self._epoch(epoch)[0][block]

    def rows_of(self, number: int) -> NDArray[np.int64]:
        """The rows of block ``number`` in the order in which they are drawn."""
        epoch, block = divmod(number, self.blocks_an_epoch)
        parts = [self._rows[self._bounds[s] : self._bounds[s + 1]] for s in self.segments_of(number)]
        return np.random.default_rng((self._seed, epoch, block)).permutation(np.concatenate(parts))

    def start_of(self, number: int) -> int:
        """Position of the first row of block ``number``."""
        epoch, block = divmod(number, self.blocks_an_epoch)
        return epoch * len(self._rows) + int(self._epoch(epoch)[1][block])

    def block_at(self, position: int) -> int:
        """Number of the block that holds the row at ``position`` (0, 1, ...)."""
        epoch, offset = divmod(position, len(self._rows))
        block = int(np.searchsorted(self._epoch(epoch)[1], offset, side="right")) - 1
        return epoch * self.blocks_an_epoch + block

    def _make_epoch(self, epoch: int) -> tuple[Sequence[NDArray[np.int64]], NDArray[np.int64]]:
        """The segments of each block, and how many rows come before it; blocks are about equally large."""
        order = np.random.default_rng((self._seed, epoch)).permutation(self._used)
        blocks = np.array_split(order, self.blocks_an_epoch)
        sizes = np.diff(self._bounds)
        return blocks, np.cumsum([0, *(sizes[block].sum() for block in blocks[:-1])])


def _chunked(values: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    return [values[start : start + size] for start in range(0, len(values), size)]
