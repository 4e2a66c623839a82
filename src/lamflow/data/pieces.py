"""An episode that is written in pieces: its last rows are held back, as only its end says what they are.

Shapes: n rows of a piece. A piece is columns [n, ...] by the names of a store's arrays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Columns = Mapping[str, NDArray[Any]]


class OpenEpisode:
    """Of level ``level_id``; messages call it ``what``. ``whole``: it has all its rows. ``held_rows``: how many of its last rows are held
    back: that of the last action and, where there is one, that of the final observation."""

    def __init__(self, what: str, level_id: int, *, held_rows: int, whole: bool) -> None:
        self.what = what
        self.level_id = level_id
        self.whole = whole
        self.num_rows = 0
        """Rows given so far."""
        self.total_reward = 0.0
        """Of the rows that were written."""
        self._held_rows = held_rows
        self._held: Columns = {}

    @property
    def is_complete(self) -> bool:
        """Whether it has an action."""
        return self.num_rows >= self._held_rows

    def tail(self, number: int) -> Columns:
        """One of the rows that are held back, n = 1."""
        return _rows(self._held, number, number + 1)

    def extend(self, piece: Columns) -> Iterator[Columns]:
        """Add rows, and answer those that are none of the last ones now, in portions."""
        count = _length(piece)
        if count < self._held_rows and self._held:
            piece = {name: np.concatenate([self._held[name], values]) for name, values in piece.items()}
        elif self._held:
            yield self._held
        self.num_rows += count
        stop = max(0, _length(piece) - self._held_rows)
        if stop:
            yield _rows(piece, 0, stop)
        self._held = {name: values[stop:].copy() for name, values in piece.items()}


def _length(columns: Columns) -> int:
    return len(next(iter(columns.values())))


def _rows(columns: Columns, start: int, stop: int) -> Columns:
    return {name: values[start:stop] for name, values in columns.items()}
