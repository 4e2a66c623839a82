"""Rows of LeRobot's parquet files, read once and in order.

Which episode a row is of, its column ``episode_index`` says, and not the offsets in ``meta/``, which are wrong in some data sets that were
put together. Shapes: n rows, A entries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lamflow.episodes.lerobot_layout import LeRobotEpisode, open_parquet

EPISODE = "episode_index"


class RowReader:
    """Batches of at most ``most`` rows of these ``columns``, episode by episode. A file is read through once where episodes follow one
    another in it."""

    def __init__(self, columns: Sequence[str], most: int) -> None:
        self._columns = columns
        self._most = most
        self._path: Path | None = None
        self._runs: Iterator[tuple[int, pa.RecordBatch]] = iter(())
        self._next: tuple[int, pa.RecordBatch] | None = None

    def rows_of(self, episode: LeRobotEpisode) -> Iterator[pa.RecordBatch]:
        """Batches with the rows of an episode, each of them asked for once. ValueError where they are not as many as listed."""
        self._find(episode)
        found = 0
        while self._next is not None and self._next[0] == episode.index:
            found += self._next[1].num_rows
            if found > episode.rows:
                break
            yield self._next[1]
            self._advance()
        if found != episode.rows:
            raise ValueError(
                f"{episode.data}: episode {episode.index}: found {'more' if found > episode.rows else found} rows that follow one another, "
                f"expected {episode.rows}, the length in meta/: one of both is wrong, as in sets that were put together"
            )

    def _find(self, episode: LeRobotEpisode) -> None:
        """Stands before the episode's first row."""
        if self._path == episode.data and self._forward(episode.index):
            return
        self._path, self._runs = episode.data, self._runs_of(episode)
        self._advance()
        if not self._forward(episode.index):
            raise ValueError(
                f"{episode.data}: episode {episode.index}: found none of its rows, expected {episode.rows}: meta/ names a wrong file, as "
                "in sets that were put together; put them together again with `lerobot-edit-dataset`"
            )

    def _forward(self, index: int) -> bool:
        while self._next is not None and self._next[0] != index:
            self._advance()
        return self._next is not None

    def _advance(self) -> None:
        self._next = next(self._runs, None)

    def _runs_of(self, episode: LeRobotEpisode) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Rows of one episode each that follow one another in a file. In a file with one episode it is that one, whatever its rows say."""
        own = None if episode.alone else EPISODE
        for batch in batches_of(episode.data, [*self._columns, *([own] if own else [])], self._most):
            if own is None:
                yield episode.index, batch
                continue
            indices = batch.column(own).to_numpy(zero_copy_only=False)
            for begin, end in pairwise([0, *(np.flatnonzero(np.diff(indices)) + 1).tolist(), len(indices)]):
                yield int(indices[begin]), batch.slice(begin, end - begin)


def batches_of(path: Path, columns: Sequence[str], most: int) -> Iterator[pa.RecordBatch]:
    """The rows of a file, ``most`` at a time. ValueError where a column is missing or the file is damaged."""
    file = open_parquet(path)
    missing = [name for name in columns if name not in file.schema_arrow.names]
    if missing:
        raise ValueError(
            f"{path}: found no column {', '.join(missing)}, expected the columns that meta/info.json lists; found are "
            f"{', '.join(file.schema_arrow.names)}"
        )
    # Without columns a batch would not know its length.
    read = list(columns) or file.schema_arrow.names[:1]
    try:
        yield from (batch for batch in file.iter_batches(most, columns=read, use_threads=False) if batch.num_rows)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: could not be read: {error}: the file is damaged; copy it again") from error


def values_of(column: pa.Array, entries: int, where: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """A column's numbers [n, ``entries``], and bool [n] whether a row has any; 0 where not. ``where``: what messages begin with."""
    known = np.asarray(column.is_valid())
    flat = column.drop_null()
    while pa.types.is_nested(flat.type):
        flat = flat.flatten()
    if not (pa.types.is_integer(flat.type) or pa.types.is_floating(flat.type) or pa.types.is_boolean(flat.type)):
        raise ValueError(f"{where}: found {column.type}, expected numbers")
    if len(flat) != known.sum() * entries:
        raise ValueError(f"{where}: found {len(flat)} numbers in {known.sum()} rows, expected {entries} per row")
    values = flat.to_numpy(zero_copy_only=False).reshape(-1, entries)
    if known.all():
        return values, known
    filled = np.zeros((len(known), entries), values.dtype)
    filled[known] = values
    return filled, known


def check_finite(values: NDArray[Any], where: str, first: int) -> None:
    """ValueError where one of ``values`` [n, A] is NaN or infinite; ``first``: the place of the first row in its episode."""
    wrong = ~np.isfinite(values)
    if wrong.any():
        row, entry = np.argwhere(wrong)[0]
        raise ValueError(
            f"{where}, frame {first + row}: found {values[row, entry]} in entry {entry}, expected a finite number: mend it, or leave "
            "the episode out"
        )
