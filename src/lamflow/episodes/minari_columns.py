"""Columns that are added to a data set of Minari: a copy of it whose episodes have further infos, which Minari itself reads back.

Shapes: T actions of an episode, which has T + 1 observations.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.dataset
from minari.dataset.minari_storage import MinariStorage
from numpy.typing import NDArray

from lamflow.episodes.minari_files import MAIN_FILE, episode_files, named_damage
from lamflow.episodes.minari_settings import METADATA, MinariSettings

NO_INTEGER: Final = -1
"""What stands in the row of the final observation, where nothing is done; of floats it is NaN, of flags false."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
Columns = Mapping[str, NDArray[Any]]


def add_columns(
    path: Path | str, out: Path | str, columns: Iterable[tuple[str, Columns]], *, dataset_id: str | None = None
) -> None:
    """Copy the data set of Minari in the folder ``path`` to the folder ``out``, with ``columns`` among the infos of its episodes.

    ``columns``: for each episode, in any order, its name (``episode_<i>``) and its new infos by name, [T, ...] of integers, floats or
    flags; as Minari's infos have a row per observation, a row is put behind them. One episode is in memory at a time; pictures are copied
    as they are stored. ``dataset_id``: the copy's; None: that of the original. ValueError names the episode and the column that does not
    fit; ``out`` appears only when it is whole.
    """
    source = MinariSettings(path=str(path)).folder
    target = Path(out).absolute()  # Minari puts a relative path twice before the names of its files
    if not (source / "data" / METADATA).is_file():
        raise ValueError(f"{source}: found no data set of Minari, expected its folder, which holds the folder data")
    if target.exists():
        raise ValueError(f"{target}: is there already: delete it, or give another folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        _copy(source / "data", temporary / "data", columns, dataset_id)
        temporary.replace(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _copy(data: Path, copy: Path, columns: Iterable[tuple[str, Columns]], dataset_id: str | None) -> None:
    copy.mkdir(parents=True)
    metadata = json.loads((data / METADATA).read_text(encoding="utf-8"))
    changed = metadata if dataset_id is None else metadata | {"dataset_id": dataset_id}
    (copy / METADATA).write_text(json.dumps(changed), encoding="utf-8")
    waiting = {f"episode_{index}": index for index in range(metadata["total_episodes"])}
    with named_damage(str(data)):
        writer: _Writer = (
            _Hdf5Writer(data, copy)
            if metadata["data_format"] == "hdf5"
            else _ArrowWriter(data, copy, metadata["data_format"])
        )
    with writer:
        first: list[str] | None = None
        for name, added in columns:
            what = f"{data}: {name}"
            if name not in waiting:
                raise ValueError(f"{what}: found columns of it, expected each of {len(waiting)} further episodes once")
            first = sorted(added) if first is None else first
            if sorted(added) != first:
                raise ValueError(f"{what}: found the columns {', '.join(sorted(added))}, expected {', '.join(first)}")
            writer.add(waiting.pop(name), added, what)
    if waiting:
        raise ValueError(f"{data}: found no columns of {', '.join(list(waiting)[:5])}, expected those of every episode")
    storage = MinariStorage.read(copy)
    storage.update_metadata({"dataset_size": storage.get_size()})


class _Writer(Protocol):
    def __enter__(self) -> Any: ...

    def __exit__(self, *problem: object) -> None: ...

    def add(self, index: int, added: Columns, what: str) -> None:
        """Write an episode."""
        ...


class _Hdf5Writer:
    """A copy of the one file, to which arrays are added."""

    def __init__(self, data: Path, copy: Path) -> None:
        shutil.copyfile(data / MAIN_FILE, copy / MAIN_FILE)
        self._file = h5py.File(copy / MAIN_FILE, "a")

    def __enter__(self) -> _Hdf5Writer:
        return self

    def __exit__(self, *problem: object) -> None:
        self._file.close()

    def add(self, index: int, added: Columns, what: str) -> None:
        with named_damage(what):
            episode = self._file[f"episode_{index}"]
            rows = len(episode["rewards"])
            infos = episode.require_group("infos")
        for name, values in _padded(added, rows, list(infos), what):
            infos.create_dataset(name, data=values, chunks=True, maxshape=(None, *values.shape[1:]))


class _ArrowWriter:
    """A file per episode, which is written anew."""

    def __init__(self, data: Path, copy: Path, data_format: str) -> None:
        self._data, self._copy, self._format = data, copy, data_format

    def __enter__(self) -> _ArrowWriter:
        return self

    def __exit__(self, *problem: object) -> None:
        pass

    def add(self, index: int, added: Columns, what: str) -> None:
        folder = self._data / str(index)
        with named_damage(what):
            table = episode_files(folder, self._format).to_table().combine_chunks()
        arrays, fields = [], []
        if "infos" in table.column_names:
            column = table.column("infos")
            infos = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
            fields = [infos.type.field(place) for place in range(infos.type.num_fields)]
            arrays = [infos.field(place) for place in range(infos.type.num_fields)]
            table = table.drop_columns(["infos"])
        for name, values in _padded(added, len(table) - 1, [field.name for field in fields], what):
            arrays.append(_arrow_of(values))
            shape = {"shape": ",".join(map(str, values.shape[1:]))} if values.ndim > 1 else None
            fields.append(pa.field(name, arrays[-1].type, metadata=shape))
        table = table.append_column("infos", pa.StructArray.from_arrays(arrays, fields=fields))
        pyarrow.dataset.write_dataset(table, self._copy / str(index), format=self._format)
        if (folder / METADATA).exists():
            shutil.copyfile(folder / METADATA, self._copy / str(index) / METADATA)


def _padded(added: Columns, rows: int, there: list[str], what: str) -> Iterator[tuple[str, NDArray[Any]]]:
    """The columns with a row for the final observation; ValueError for one that does not fit an episode of ``rows`` actions."""
    for name, given in added.items():
        values = np.asarray(given)
        if not _NAME.fullmatch(name):
            raise ValueError(f"{what}: found a column named {name!r}, expected letters, digits, '-' and '_'")
        if name in there:
            raise ValueError(
                f"{what}: found an info named {name!r} already, expected a new one: give the column another name"
            )
        if values.dtype.kind not in "iufb" or values.ndim == 0 or len(values) != rows:
            raise ValueError(
                f"{what}: column {name}: found {values.dtype} {list(values.shape)}, expected numbers with {rows} rows, one per action"
            )
        if values.dtype.kind == "u":
            values = values.astype(np.int64)
        nothing = {"f": np.nan, "i": NO_INTEGER, "b": False}[values.dtype.kind]
        yield name, np.concatenate([values, np.full((1, *values.shape[1:]), nothing, values.dtype)])


def _arrow_of(values: NDArray[Any]) -> Any:
    """Numbers [rows] as they are, those of more axes as lists of one length, whose shape Minari finds beside them."""
    if values.ndim == 1:
        return pa.array(values)
    lists = values.reshape(len(values), -1)
    kind = pa.list_(pa.from_numpy_dtype(values.dtype), list_size=lists.shape[1])
    return pa.FixedSizeListArray.from_arrays(pa.array(lists.reshape(-1)), type=kind)
