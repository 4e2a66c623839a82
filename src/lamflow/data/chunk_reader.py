"""Rows of a finished array read chunk by chunk: for whoever reads a part of a store, in threads of its own.

It reads what ``group_writer`` writes: shard files of zstd chunks with a crc32c each, and an index at the end (zarr v3,
``sharding_indexed``). Each chunk is checked when it is decoded, so nothing else of a large store need be read first. The
decoder of zarr itself (see ``group_reader``) takes twice as long, holds threads up, and its checks cost a pass over all files.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from lamflow.data.group_writer import ArraySpec, shard_file, shard_name

REPAIR: Final = "delete it and run the rule that writes it again"
_MISSING: Final = 2**64 - 1
"""Offset and size of a chunk that was not written: its values are zeros."""
_CHECKSUM_BYTES: Final = 4


class Rows(Protocol):
    """Rows that can be read: of an array (``RowReader``), or of several, one after the other."""

    @property
    def spec(self) -> ArraySpec: ...

    @property
    def num_rows(self) -> int: ...

    @property
    def chunk_rows(self) -> int: ...

    @property
    def row_bytes(self) -> int: ...

    def read(self, start: int, stop: int, out: NDArray[Any] | None = None) -> NDArray[Any]: ...

    def read_rows(self, rows: NDArray[np.int64]) -> NDArray[Any]: ...


@dataclass(frozen=True)
class RowReader:
    """The array in ``folder``: ``num_rows`` rows of ``spec``; ``chunk_rows`` and ``shard_rows`` are those it was written with.

    Threads may share one. Each method raises ValueError naming the file that is missing or damaged.
    """

    folder: Path
    spec: ArraySpec
    num_rows: int
    chunk_rows: int
    shard_rows: int

    @property
    def row_bytes(self) -> int:
        """Bytes of a decoded row."""
        return np.dtype(self.spec.dtype).itemsize * math.prod(self.spec.row_shape)

    def read(self, start: int, stop: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Rows ``start`` .. ``stop`` - 1, [stop - start, *row_shape]; decoded into ``out`` where that is given."""
        assert 0 <= start <= stop <= self.num_rows
        found = self._empty(stop - start) if out is None else out
        for shard in range(start // self.shard_rows, -(-stop // self.shard_rows)):
            first = shard * self.shard_rows
            with self._opened(shard) as opened:
                for row in range(
                    max(first, start - start % self.chunk_rows), min(first + self.shard_rows, stop), self.chunk_rows
                ):
                    low, high = max(row, start), min(row + self.chunk_rows, stop)
                    target = found[low - start : high - start]
                    if high - low == self.chunk_rows:
                        opened.decode((row - first) // self.chunk_rows, target)
                    else:
                        target[:] = self._chunk(opened, (row - first) // self.chunk_rows)[low - row : high - row]
        return found

    def read_rows(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """The ``rows`` int64 [M] alone, in that order, [M, *row_shape]; each chunk that holds some is decoded once."""
        found, order = self._empty(len(rows)), np.argsort(rows)
        chunk_of = rows[order] // self.chunk_rows
        chunks, starts = np.unique(chunk_of, return_index=True)
        for chunk, (start, stop) in zip(chunks.tolist(), pairwise([*starts.tolist(), len(rows)]), strict=True):
            shard, number = divmod(chunk, self.shard_rows // self.chunk_rows)
            places = order[start:stop]
            with self._opened(shard) as opened:
                found[places] = self._chunk(opened, number)[rows[places] - chunk * self.chunk_rows]
        return found

    def never_written(self) -> list[str]:
        """The chunks of the array's rows that no shard holds, named: zarr reads them as zeros. Only the shards' indexes are read."""
        found = []
        for shard in range(-(-self.num_rows // self.shard_rows)):
            rows = min(self.num_rows - shard * self.shard_rows, self.shard_rows)
            with self._opened(shard) as opened:
                missing = opened.never_written(-(-rows // self.chunk_rows))
            found += [f"{shard_name(self.spec, shard)}: chunk {number} was never written" for number in missing]
        return found

    def _empty(self, rows: int) -> NDArray[Any]:
        return np.empty((rows, *self.spec.row_shape), self.spec.dtype)

    def _chunk(self, opened: _Shard, number: int) -> NDArray[Any]:
        chunk = self._empty(self.chunk_rows)
        opened.decode(number, chunk)
        return chunk

    @contextmanager
    def _opened(self, shard: int) -> Iterator[_Shard]:
        file = self.folder / shard_file(self.spec, shard)
        try:
            handle = os.open(file, os.O_RDONLY)
        except FileNotFoundError:
            raise ValueError(f"{file}: missing, expected a part of the array {self.spec.name!r}: {REPAIR}") from None
        try:
            yield _Shard(file, handle, self.shard_rows // self.chunk_rows)
        finally:
            os.close(handle)


class _Shard:
    """An open shard file of ``num_chunks`` chunks."""

    def __init__(self, file: Path, handle: int, num_chunks: int) -> None:
        self._file = file
        self._handle = handle
        size = num_chunks * 16 + _CHECKSUM_BYTES
        self._index = np.frombuffer(self._checked(os.fstat(handle).st_size - size, size, "its index"), "<u8").reshape(
            -1, 2
        )

    def never_written(self, num_chunks: int) -> list[int]:
        """Which of the first ``num_chunks`` chunks the index does not have."""
        return np.flatnonzero(self._index[:num_chunks, 0] == _MISSING).tolist()

    def decode(self, number: int, out: NDArray[Any]) -> None:
        """Write chunk ``number`` into ``out``, which has its size."""
        from numcodecs import Zstd

        offset, size = (int(value) for value in self._index[number])
        if offset == _MISSING:
            out[:] = 0
            return
        encoded = self._checked(offset, size, f"chunk {number}")
        try:
            Zstd().decode(encoded, out)
        except (RuntimeError, ValueError) as error:
            self._refuse(f"chunk {number}", str(error))

    def _checked(self, offset: int, size: int, what: str) -> bytes:
        """The bytes at ``offset`` without the crc32c that ends them."""
        import google_crc32c

        found = os.pread(self._handle, size, offset) if offset >= 0 else b""
        content, checksum = found[:-_CHECKSUM_BYTES], found[-_CHECKSUM_BYTES:]
        if len(found) != size:
            self._refuse(what, f"found {len(found)} bytes, expected {size}")
        if int(google_crc32c.value(content)).to_bytes(_CHECKSUM_BYTES, "little") != checksum:
            self._refuse(what, "its crc32c differs")
        return content

    def _refuse(self, what: str, problem: str) -> NoReturn:
        raise ValueError(f"{self._file}: {what} is damaged ({problem}): {REPAIR}")
