"""Columns of a Minari data set that are read without its pictures, which Minari itself reads with everything else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import pyarrow.dataset
from numpy.typing import NDArray

MAIN_FILE: Final = "main_data.hdf5"


@contextmanager
def named_damage(what: str) -> Iterator[None]:
    """Turns what Minari and the libraries under it raise for damaged content into a ValueError that begins with ``what``."""
    try:
        yield
    except Exception as error:  # whatever its storages raise, assertions included
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, FileNotFoundError):
            raise
        raise ValueError(
            f"{what}: could not be read ({type(error).__name__}: {error}), expected a whole data set of Minari: download or copy it again"
        ) from None


class ActionColumn:
    """The actions of the episodes in the folder ``data``, one episode at a time; a context manager."""

    def __init__(self, data: Path, data_format: str) -> None:
        self._data, self._format = data, data_format
        self._stack = ExitStack()

    def __enter__(self) -> ActionColumn:
        if self._format == "hdf5":
            with named_damage(str(self._data)):
                self._file = self._stack.enter_context(h5py.File(self._data / MAIN_FILE, "r"))
        return self

    def __exit__(self, *problem: object) -> None:
        self._stack.close()

    def read(self, index: int) -> NDArray[Any]:
        """Of one episode, [actions, ...]; ValueError where it is damaged."""
        with named_damage(f"{self._data}: episode_{index}"):
            return self._values(index)

    def _values(self, index: int) -> NDArray[Any]:
        if self._format == "hdf5":
            return np.asarray(self._file[f"episode_{index}/actions"][()])
        table = episode_files(self._data / str(index), self._format).to_table(columns=["actions"])
        column = table["actions"].combine_chunks()
        rows = len(column)
        values = column.flatten() if hasattr(column, "flatten") else column
        # The row of the final observation has an action that was never taken.
        return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(rows, -1)[:-1]


def episode_files(folder: Path, data_format: str) -> Any:
    """The arrow or parquet files of an episode, as a ``pyarrow.dataset.Dataset``."""
    return pyarrow.dataset.dataset(str(folder), format=data_format, ignore_prefixes=["_", ".", "metadata.json"])
