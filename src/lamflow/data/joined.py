"""Several groups read as one, row after row, with nothing copied: what a union's store is.

Shapes: M rows asked for. Row numbers are int64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamflow.data.chunk_reader import RowReader
from lamflow.data.group_reader import GroupReader
from lamflow.data.group_writer import ArraySpec, own_zarr_options

STARTS = "episode_starts"
"""The array that holds row numbers, which are others in the whole."""


@dataclass(frozen=True)
class JoinedRows:
    """The rows of several readers, one after the other; it reads as ``RowReader`` does."""

    parts: tuple[RowReader, ...]

    @property
    def spec(self) -> ArraySpec:
        """That of the first; the others have the same rows."""
        return self.parts[0].spec

    @property
    def num_rows(self) -> int:
        """Of all."""
        return sum(part.num_rows for part in self.parts)

    @property
    def chunk_rows(self) -> int:
        """That of the first: what is read in such portions elsewhere decodes a chunk or two twice."""
        return self.parts[0].chunk_rows

    @property
    def row_bytes(self) -> int:
        """Bytes of a decoded row."""
        return self.parts[0].row_bytes

    def read(self, start: int, stop: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """As ``RowReader.read``."""
        found = np.empty((stop - start, *self.spec.row_shape), self.spec.dtype) if out is None else out
        first = 0
        for part in self.parts:
            low, high = max(start, first), min(stop, first + part.num_rows)
            if low < high:
                part.read(low - first, high - first, found[low - start : high - start])
            first += part.num_rows
        return found

    def read_rows(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """As ``RowReader.read_rows``."""
        found = np.empty((len(rows), *self.spec.row_shape), self.spec.dtype)
        first = 0
        for part in self.parts:
            mine = np.flatnonzero((rows >= first) & (rows < first + part.num_rows))
            if len(mine):
                found[mine] = part.read_rows(rows[mine] - first)
            first += part.num_rows
        return found


class JoinedArray:
    """An array of several groups, read from disk where it is sliced by rows; ``added``: to the values of each group."""

    def __init__(self, arrays: Sequence[Any], added: Sequence[int]) -> None:
        self._arrays = arrays
        self._added = added

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        """``rows``: ``...``, or a slice without steps."""
        total = sum(array.shape[0] for array in self._arrays)
        start, stop, step = (slice(None) if rows is Ellipsis else rows).indices(total)
        assert step == 1, "whole ranges of rows are read"
        found, first = [], 0
        for array, added in zip(self._arrays, self._added, strict=True):
            low, high = max(start, first), min(stop, first + array.shape[0])
            part = np.asarray(array[max(low - first, 0) : max(high - first, 0)])
            found.append(part + added if added else part)
            first += array.shape[0]
        return np.concatenate(found)


@dataclass(frozen=True)
class Filled:
    """An array whose rows are all alike: in the place of one that has no rows of that kind."""

    num_rows: int
    spec: ArraySpec
    value: int

    @property
    def shape(self) -> tuple[int, ...]:
        """[rows, ...]."""
        return (self.num_rows, *self.spec.row_shape)

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        return np.full((len(range(self.num_rows)[rows]), *self.spec.row_shape), self.value, self.spec.dtype)


class JoinedGroup:
    """The arrays of several groups as those of one. ``names``: for each group, what it calls arrays that have another name in the whole;
    ``arrays``: the names in the whole; ``num_rows``: of each group; ``instead``: for each group, what is sliced in the place of some of its
    arrays, by their names in the whole. ValueError as from ``GroupReader``."""

    def __init__(
        self,
        groups: Sequence[GroupReader],
        *,
        names: Sequence[Mapping[str, str]],
        arrays: Sequence[str],
        num_rows: Sequence[int],
        instead: Sequence[Mapping[str, Filled]],
    ) -> None:
        self._groups = groups
        self._names = names
        self._arrays = arrays
        self._instead = instead
        self._firsts = [sum(num_rows[:place]) for place in range(len(num_rows))]

    def __getitem__(self, name: str) -> JoinedArray:
        """The array ``name``, read where it is sliced."""
        added = self._firsts if name == STARTS else [0] * len(self._groups)
        parts = zip(self._of_each(name), self._instead, strict=True)
        return JoinedArray([instead.get(name) or group[mine] for (group, mine), instead in parts], added)

    def rows(self, name: str) -> JoinedRows:
        """A reader of the array ``name``."""
        return JoinedRows(tuple(group.rows(mine) for group, mine in self._of_each(name)))

    def load(self, *, without: Sequence[str] = ()) -> dict[str, NDArray[Any]]:
        """All arrays by name, in memory; those named in ``without`` are left out."""
        with own_zarr_options():
            return {name: self[name][...] for name in self._arrays if name not in without}

    def _of_each(self, name: str) -> list[tuple[GroupReader, str]]:
        return [(group, mine.get(name, name)) for group, mine in zip(self._groups, self._names, strict=True)]
