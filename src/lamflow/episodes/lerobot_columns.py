"""A copy of a LeRobot data set with further columns in its rows, such as latent actions, where LeRobot's own tools look them up.

Files are written one after the other, a row group at a time. Shapes: n rows of a file, m of a piece of them, D entries of a column.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lamflow.atomic_files import write_text
from lamflow.episodes.lerobot_layout import Layout, open_parquet, read_layout
from lamflow.episodes.lerobot_rows import EPISODE, batches_of

DTYPES = ("float32", "int64")
_FRAME = "frame_index"
_ROWS = 65_536
_HF = b"huggingface"
"""Under this key a file's schema says how Hugging Face's datasets reads it."""


@dataclass(frozen=True)
class RowsOfFile:
    """The rows of a data file in their order, int64 [n]: ``episodes``, which episode each is of, and ``frames``, its place in that."""

    path: Path
    episodes: NDArray[np.int64]
    frames: NDArray[np.int64]


Columns = Callable[[RowsOfFile], Iterable[Mapping[str, NDArray[Any]]]]
"""The new columns of a file's rows by name, in pieces of any length that follow one another: float32 or int64, [m] or [m, D]."""


def add_columns(path: Path, out: Path, columns: Columns, names: Mapping[str, Sequence[str]] | None = None) -> None:
    """Writes the data set in ``path`` to ``out``, with new columns in its parquet files and in ``meta/info.json`` and ``meta/stats.json``.
    ``names``: what the entries of a column are called. Videos are linked where the file system allows it, else copied. ``out`` is there
    whole or not at all. ValueError where ``out`` exists, a column does already, or there are not as many values as rows."""
    layout = read_layout(path)
    if out.exists():
        raise ValueError(f"{out}: found that it exists, expected a new folder: remove it, or name another")
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        _copy_rest(path, part)
        added = _Added(names or {})
        for source in sorted((path / "data").rglob("*.parquet")):
            _write_file(layout, source, part / source.relative_to(path), columns, added)
        _write_meta(layout, part, added)
        part.replace(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)


@dataclass
class _Statistics:
    """Of a column's entries [D] over all rows."""

    dtype: str
    shape: tuple[int, ...]
    count: int = 0
    least: Any = np.inf
    most: Any = -np.inf
    total: Any = 0.0
    squares: Any = 0.0

    def add(self, values: NDArray[Any]) -> None:
        entries = values.reshape(len(values), -1).astype(np.float64)
        self.count += len(entries)
        self.least = np.minimum(self.least, entries.min(axis=0))
        self.most = np.maximum(self.most, entries.max(axis=0))
        self.total = self.total + entries.sum(axis=0)
        self.squares = self.squares + (entries**2).sum(axis=0)

    def as_json(self) -> dict[str, Any]:
        mean = self.total / self.count
        deviation = np.sqrt(np.maximum(self.squares / self.count - mean**2, 0))
        found = {"min": self.least, "max": self.most, "mean": mean, "std": deviation}
        return {**{name: value.tolist() for name, value in found.items()}, "count": [self.count]}


@dataclass
class _Added:
    """The columns that were added, and what their entries are called."""

    names: Mapping[str, Sequence[str]]
    columns: dict[str, _Statistics] = field(default_factory=dict)

    def note(self, where: str, name: str, values: NDArray[Any]) -> None:
        """Counts a piece. ValueError where it is of another kind than those before."""
        assert str(values.dtype) in DTYPES and values.ndim in (1, 2), f"{name}: {values.dtype} {values.shape}"
        column = self.columns.setdefault(name, _Statistics(str(values.dtype), values.shape[1:]))
        if (column.dtype, column.shape) != (str(values.dtype), values.shape[1:]):
            raise ValueError(
                f"{where}: new column {name!r}: found {values.dtype} {list(values.shape[1:])}, expected {column.dtype} "
                f"{list(column.shape)} as in the rows before"
            )
        column.add(values)

    def features(self) -> dict[str, dict[str, Any]]:
        """As ``meta/info.json`` has them."""
        return {
            name: {"dtype": column.dtype, "shape": list(column.shape) or [1], "names": self._names_of(name)}
            for name, column in self.columns.items()
        }

    def _names_of(self, name: str) -> list[str] | None:
        return list(self.names[name]) if name in self.names else None


def _copy_rest(path: Path, out: Path) -> None:
    """All but the data files; what is large is linked. A link to a link of a cache would lead nowhere."""
    for source in sorted(path.rglob("*")):
        inside = source.relative_to(path)
        if source.is_dir() or (inside.parts[0] == "data" and source.suffix == ".parquet"):
            continue
        target = out / inside
        target.parent.mkdir(parents=True, exist_ok=True)
        if inside.parts[0] in ("videos", "images") and _linked(source.resolve(), target):
            continue
        shutil.copyfile(source, target)


def _linked(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError:
        return False
    return True


def _write_file(layout: Layout, source: Path, target: Path, columns: Columns, added: _Added) -> None:
    file = open_parquet(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        writer: pq.ParquetWriter | None = None
        for table in _tables(layout, source, file, columns, added):
            if writer is None:
                writer = stack.enter_context(pq.ParquetWriter(target, table.schema, compression=_compression(file)))
            writer.write_table(table, row_group_size=max(1, table.num_rows))


def _tables(layout: Layout, source: Path, file: pq.ParquetFile, columns: Columns, added: _Added) -> Iterator[pa.Table]:
    """The row groups of a file, with the new columns."""
    rows = _rows_of(layout, source)
    pieces, held = iter(columns(rows)), dict[str, NDArray[Any]]()
    for group in range(file.num_row_groups):
        table = file.read_row_group(group)
        new, held = _taken(source, pieces, held, table.num_rows)
        for name, values in new.items():
            _check_new(layout, source, name)
            added.note(str(source), name, values)
            table = table.append_column(name, _as_arrow(values))
        yield table.replace_schema_metadata(_metadata(table.schema.metadata, new))
    if _length(held) or any(map(_length, pieces)):
        raise ValueError(f"{source}: found more new values than rows, expected {len(rows.episodes)} per column")


def _taken(
    source: Path, pieces: Iterator[Mapping[str, NDArray[Any]]], held: dict[str, NDArray[Any]], count: int
) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """The values of the next ``count`` rows, and those that are left of the last piece."""
    parts, found = [held] if held else [], _length(held)
    while found < count:
        piece = next(pieces, None)
        if piece is None or not piece:
            raise ValueError(f"{source}: found {found} new values for the next {count} rows, expected one per row")
        parts.append(dict(piece))
        found += _length(piece)
    if not parts:
        return {}, {}
    if any(set(part) != set(parts[0]) for part in parts):
        raise ValueError(f"{source}: found pieces of different columns, expected {', '.join(parts[0])} in each")
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return {name: values[:count] for name, values in joined.items()}, {
        name: values[count:] for name, values in joined.items()
    }


def _length(piece: Mapping[str, NDArray[Any]]) -> int:
    lengths = {len(values) for values in piece.values()}
    assert len(lengths) <= 1, f"columns of lengths {lengths}"
    return lengths.pop() if lengths else 0


def _rows_of(layout: Layout, source: Path) -> RowsOfFile:
    alone = next((episode for episode in layout.episodes if episode.alone and episode.data == source), None)
    file = open_parquet(source)
    if alone is not None:
        count = file.metadata.num_rows
        return RowsOfFile(source, np.full(count, alone.index, np.int64), np.arange(count, dtype=np.int64))
    found = [_numbers(batch, (EPISODE, _FRAME)) for batch in batches_of(source, (EPISODE, _FRAME), _ROWS)]
    episodes, frames = np.concatenate(found, axis=1) if found else np.zeros((2, 0), np.int64)
    return RowsOfFile(source, episodes, frames)


def _numbers(batch: pa.RecordBatch, names: Sequence[str]) -> NDArray[np.int64]:
    return np.stack([np.asarray(batch.column(name).to_numpy(zero_copy_only=False), np.int64) for name in names])


def _check_new(layout: Layout, source: Path, name: str) -> None:
    if name in layout.features:
        raise ValueError(
            f"{source}: found a column {name!r} already, expected a new name: name the new column otherwise"
        )


def _as_arrow(values: NDArray[Any]) -> pa.Array:
    if values.ndim == 1:
        return pa.array(values)
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).reshape(-1)), values.shape[1])


def _metadata(metadata: Mapping[bytes, bytes] | None, new: Mapping[str, NDArray[Any]]) -> dict[bytes, bytes] | None:
    """With the new columns among those that Hugging Face's datasets expects, where the file has such a list."""
    if not metadata or _HF not in metadata:
        return dict(metadata) if metadata else None
    facts = json.loads(metadata[_HF])
    features = facts.get("info", {}).get("features")
    if features is not None:
        for name, values in new.items():
            value = {"dtype": str(values.dtype), "_type": "Value"}
            entries = {"feature": value, "length": values.shape[1], "_type": "Sequence"} if values.ndim == 2 else value
            features[name] = entries
    return {**metadata, _HF: json.dumps(facts).encode()}


def _compression(file: pq.ParquetFile) -> str:
    """That of the file it comes from."""
    first = file.metadata.row_group(0).column(0).compression
    return "none" if first == "UNCOMPRESSED" else str(first)


def _write_meta(layout: Layout, out: Path, added: _Added) -> None:
    info = {**layout.info, "features": {**layout.features, **added.features()}}
    write_text(out / "meta" / "info.json", json.dumps(info, indent=4, ensure_ascii=False) + "\n")
    path = out / "meta" / "stats.json"
    if path.is_file():
        stats = json.loads(path.read_text(encoding="utf-8"))
        stats |= {name: column.as_json() for name, column in added.columns.items()}
        write_text(path, json.dumps(stats, indent=4) + "\n")
