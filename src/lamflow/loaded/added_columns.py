"""Labels as new columns in a copy of a data set of LeRobot or Minari, which their own tools read.

Shapes: n rows, D latent width, K codes of a latent, A entries of an action.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow.parquet as parquet
from numpy.typing import NDArray

from lamflow.components import kind_of
from lamflow.episodes import lerobot_columns, minari_columns
from lamflow.episodes.settings import SourceSettings

Into = Literal["lerobot", "minari"]
KINDS: tuple[Into, ...] = get_args(Into)
COLUMNS = {"latent": "latent", "code": "latent_code", "action": "decoded_action", "confidence": "decoded_confidence"}
"""Of the table, without the numbers of their entries, and what they are called in a data set."""
NO_CODE = -1
"""Of whole numbers in the last frame of an episode, from which no action leads on; of others it is NaN."""


def check_into(kind: Into, settings: SourceSettings, out: Path) -> None:
    """ValueError unless the recordings are of this kind, and ``out`` is a new folder."""
    found = kind_of(type(settings))
    if found != kind:
        raise ValueError(
            f"{', '.join(settings.files)}: found recordings of the kind {found}, expected {kind} with --into {kind}"
        )
    if out.exists():
        raise ValueError(f"{out}: is there already, expected a new folder: remove it, or name another")


def add_labels(table: Path, data: Path, out: Path, kind: Into) -> None:
    """Copy the data set ``data`` to ``out``, with the labels of its ``table``: ``latent`` float32 [n, D], ``latent_code`` int64 [n, K], and
    where there was a decoder ``decoded_action`` and ``decoded_confidence``."""
    with LabelRows(table) as rows:
        if kind == "minari":
            minari_columns.add_columns(data, out, _by_episode(rows))
        else:
            lerobot_columns.add_columns(data, out, lambda file: _of_file(rows, file))


class LabelRows:
    """The table of ``lamflow.loaded.label_table``, a few row groups of it in memory. ``borders``: the first row of each episode and the row
    after its last one, by name."""

    def __init__(self, path: Path) -> None:
        self._file = parquet.ParquetFile(path)
        self._read = lru_cache(maxsize=2)(self._file.read_row_group)
        sizes = [self._file.metadata.row_group(group).num_rows for group in range(self._file.num_row_groups)]
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self.borders: dict[str, tuple[int, int]] = {}
        for group in range(self._file.num_row_groups):
            names = self._file.read_row_group(group, columns=["episode"])["episode"].to_numpy()
            for name in dict.fromkeys(names):
                places = np.flatnonzero(names == name) + self._starts[group]
                first = self.borders.get(name, (int(places[0]), 0))[0]
                self.borders[name] = (first, int(places[-1]) + 1)

    def __enter__(self) -> LabelRows:
        return self

    def __exit__(self, *problem: object) -> None:
        self._file.close()

    def read(self, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """The columns at ``rows`` int64 [n] by their names in a data set."""
        groups = np.searchsorted(self._starts, rows, side="right") - 1
        parts = [
            self._read(int(group)).take(rows[groups == group] - self._starts[group]) for group in np.unique(groups)
        ]
        order = np.argsort(np.argsort(groups, kind="stable"), kind="stable")
        found: dict[str, list[NDArray[Any]]] = {}
        for name in self._file.schema_arrow.names[2:]:
            values = np.concatenate([_filled(part[name]) for part in parts])[order]
            found.setdefault(COLUMNS[re.sub(r"_\d+$", "", name)], []).append(values)
        several = ("latent", "latent_code")
        return {
            name: np.stack(columns, axis=1) if len(columns) > 1 or name in several else columns[0]
            for name, columns in found.items()
        }


def _filled(column: Any) -> NDArray[Any]:
    """Without nulls."""
    whole = column.type in ("int64",)
    filled: NDArray[Any] = column.fill_null(NO_CODE if whole else np.nan).to_numpy()
    return filled


def _by_episode(rows: LabelRows) -> Iterator[tuple[str, dict[str, NDArray[Any]]]]:
    """As Minari has them: of actions, and none of the final observation."""
    for name, (first, stop) in rows.borders.items():
        yield name, rows.read(np.arange(first, stop - 1))


def _of_file(rows: LabelRows, file: lerobot_columns.RowsOfFile) -> Iterator[dict[str, NDArray[Any]]]:
    """In pieces of an episode, as the file has them."""
    cuts = np.flatnonzero(np.diff(file.episodes)) + 1
    for episode, frames in zip(np.split(file.episodes, cuts), np.split(file.frames, cuts), strict=True):
        if len(frames):
            yield rows.read(rows.borders[f"episode_{episode[0]:06d}"][0] + frames)
