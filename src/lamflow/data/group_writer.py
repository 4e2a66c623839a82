"""Zarr v3 groups of row arrays: written atomically in bounded memory, sealed with a list of their files.

The arrays of an episode and a latent store are described in ``store`` and ``latents``; ``group_reader`` reads groups.
"""

from __future__ import annotations

import glob
import hashlib
import json
import math
import os
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

CHUNK_BYTES: Final = 1 << 20
"""Aimed at size of a decoded chunk: zstd decodes it in about a millisecond."""
MAX_CHUNK_ROWS: Final = 65_536
CHUNKS_A_SHARD: Final = 128
MAX_SHARD_ROWS: Final = 1 << 20
ZSTD_LEVEL: Final = 3
_FAILED: Final = "an earlier write failed, so this store cannot be finished: write it anew"


@dataclass(frozen=True)
class ArraySpec:
    """One array of a group: ``dtype`` (a numpy name) [rows, *row_shape]."""

    name: str
    dtype: str
    row_shape: tuple[int, ...] = ()

    @property
    def chunk_rows(self) -> int:
        """Rows a chunk: the power of two that fills about CHUNK_BYTES."""
        row_bytes = np.dtype(self.dtype).itemsize * math.prod(self.row_shape)
        return min(MAX_CHUNK_ROWS, 1 << max(0, (CHUNK_BYTES // row_bytes).bit_length() - 1))

    @property
    def shard_rows(self) -> int:
        """Rows a shard file: a whole number of chunks; a writer holds no more than this, compressed."""
        return min(CHUNKS_A_SHARD * self.chunk_rows, MAX_SHARD_ROWS)


@contextmanager
def own_zarr_options() -> Iterator[None]:
    """Within the block zarr does as it is made to: its variables (ZARR_...) and files of options would give arrays that are laid
    out otherwise, or name classes that are not there."""
    import zarr

    with zarr.config.set(zarr.config.defaults[0]):
        yield


def shard_name(spec: ArraySpec, number: int) -> str:
    """The file of a shard within its group."""
    return f"{spec.name}/{shard_file(spec, number)}"


def shard_file(spec: ArraySpec, number: int) -> str:
    """The same within the array's folder, whose copies have other names."""
    return "/".join(["c", str(number), *("0" for _ in spec.row_shape)])


class ArrayWriter:
    """Appends rows to one zarr array; holds one chunk of rows and one shard of encoded chunks.

    Shards are put together here and not by zarr, whose copies of whole shards cost as much time as their compression.
    """

    def __init__(self, group: Any, root: Path, spec: ArraySpec) -> None:
        from numcodecs import Zstd
        from zarr.codecs import Crc32cCodec, ZstdCodec

        self.spec = spec
        self.num_rows = 0
        self._buffered = 0
        self._chunk = np.zeros((spec.chunk_rows, *spec.row_shape), np.dtype(spec.dtype).newbyteorder("<"))
        self._encoder = Zstd(level=ZSTD_LEVEL)
        self._encoded: list[bytes] = []
        self._num_shards = 0
        self._root = root
        self._array = group.create_array(
            spec.name,
            shape=(0, *spec.row_shape),
            dtype=spec.dtype,
            chunks=(spec.chunk_rows, *spec.row_shape),
            shards=(spec.shard_rows, *spec.row_shape),
            compressors=[ZstdCodec(level=ZSTD_LEVEL), Crc32cCodec()],
        )

    def append(self, values: NDArray[Any]) -> None:
        start, chunk_rows = 0, self.spec.chunk_rows
        while start < len(values):
            taken = min(len(values) - start, chunk_rows - self._buffered)
            part = values[start : start + taken]
            self.num_rows += taken
            start += taken
            if taken == chunk_rows:
                self._encode(part)
                continue
            self._chunk[self._buffered : self._buffered + taken] = part
            self._buffered += taken
            if self._buffered == chunk_rows:
                self._encode(self._chunk)
                self._buffered = 0

    def finish(self) -> None:
        """Write what is buffered, the last chunk filled up with zeros, and the array's length."""
        if self._buffered:
            self._chunk[self._buffered :] = 0
            self._encode(self._chunk)
            self._buffered = 0
        if self._encoded:
            self.write_shard()
        self._array.resize((self.num_rows, *self.spec.row_shape))

    def _encode(self, chunk: NDArray[Any]) -> None:
        encoded = bytes(self._encoder.encode(np.ascontiguousarray(chunk, self._chunk.dtype)))
        self._encoded.append(_with_checksum(encoded))
        if len(self._encoded) * self.spec.chunk_rows == self.spec.shard_rows:
            self.write_shard()

    def write_shard(self) -> None:
        """Write the chunks, then the index of their offsets and sizes, all bits set for those that are missing (zarr v3,
        ``sharding_indexed``)."""
        index = np.full((self.spec.shard_rows // self.spec.chunk_rows, 2), 2**64 - 1, "<u8")
        sizes = np.array([len(part) for part in self._encoded])
        index[: len(sizes)] = np.stack([np.cumsum(sizes) - sizes, sizes], axis=1)
        file = self._root / shard_name(self.spec, self._num_shards)
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("wb") as opened:
            opened.writelines([*self._encoded, _with_checksum(index.tobytes())])
        self._encoded.clear()
        self._num_shards += 1


def _with_checksum(content: bytes) -> bytes:
    """``content`` and its crc32c, as zarr's codec of that name writes it."""
    import google_crc32c

    return content + int(google_crc32c.value(content)).to_bytes(4, "little")


class GroupWriter:
    """Writes a group beside ``path`` and renames it to ``path`` when the ``with`` block ends well.

    On an exception nothing is left behind, and a store that stood at ``path`` before is untouched. ``attributes`` may
    be changed until the block ends. An OSError (a full disk, say) names ``path`` and how many rows had been written.
    """

    def __init__(self, path: Path, arrays: Sequence[ArraySpec]) -> None:
        self.path = path
        self.attributes: dict[str, Any] = {}
        self._specs = arrays
        self._arrays: dict[str, ArrayWriter] = {}
        self._failed = False
        self._temporary = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.partial")

    def __enter__(self) -> GroupWriter:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(self.path)
            import zarr

            with own_zarr_options():
                self._group = zarr.open_group(self._temporary, mode="w", zarr_format=3)
                self._arrays = {spec.name: ArrayWriter(self._group, self._temporary, spec) for spec in self._specs}
        except OSError as error:
            shutil.rmtree(self._temporary, ignore_errors=True)
            raise self._explained(error) from error
        return self

    def append(self, name: str, values: NDArray[Any]) -> None:
        """Append rows to the array ``name``."""
        if self._failed:
            raise ValueError(f"{self.path}: {_FAILED}")
        try:
            self._arrays[name].append(values)
        except BaseException as error:
            self._failed = True
            if isinstance(error, OSError):
                raise self._explained(error) from error
            raise

    def leave_out(self, name: str) -> None:
        """Remove the array ``name``, whatever was appended to it: the group is as if it had never been asked for."""
        del self._arrays[name]
        shutil.rmtree(self._temporary / name)

    def num_rows(self, name: str) -> int:
        """Rows appended to the array ``name`` so far."""
        return self._arrays[name].num_rows

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None and self._failed:
                raise ValueError(f"{self.path}: {_FAILED}")
            if error is None:
                self._finish()
        except OSError as problem:
            raise self._explained(problem) from problem
        finally:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def _finish(self) -> None:
        with own_zarr_options():
            for array in self._arrays.values():
                array.finish()
            attributes = _as_json({**self.attributes, "complete": True, "files": _listed(self._temporary)}, self.path)
            self._group.attrs.put({**attributes, "digest": attributes_digest(attributes)})
        for part in self._temporary.rglob("*"):
            _flush_to_disk(part)
        _replace_directory(self._temporary, self.path)

    def _explained(self, error: OSError) -> OSError:
        num_rows = max((array.num_rows for array in self._arrays.values()), default=0)
        return OSError(
            error.errno,
            f"writing stopped after {num_rows} rows ({error.strerror or error}); what was half-written is removed: free "
            "disk space or choose another results folder, and run it again",
            str(self.path),
        )


def _remove_abandoned(path: Path) -> None:
    """Remove half-written stores of ``path`` whose process (on this host) was killed before it could do so."""
    prefix = f".{path.name}.{socket.gethostname()}."
    for other in path.parent.glob(f"{glob.escape(prefix)}*"):
        process, _, ending = other.name.removeprefix(prefix).partition(".")
        if process.isdigit() and ending in ("partial", "old") and not _is_alive(int(process)):
            shutil.rmtree(other, ignore_errors=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _replace_directory(source: Path, target: Path) -> None:
    """Rename ``source`` to ``target``; what stood at ``target`` is put aside first and removed afterwards."""
    old = source.with_suffix(".old")
    shutil.rmtree(old, ignore_errors=True)
    if target.is_dir() and not target.is_symlink():
        target.rename(old)
    else:
        target.unlink(missing_ok=True)
    try:
        source.rename(target)
    except BaseException:  # an interrupt, too
        if old.exists():
            old.rename(target)
        raise
    _flush_to_disk(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def _flush_to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _listed(root: Path) -> dict[str, list[int | str]]:
    """Size in bytes and sha256 of every file of a group, by name, except its own ``zarr.json``."""
    names = sorted(part.relative_to(root).as_posix() for part in root.rglob("*") if part.is_file())
    return {name: [(root / name).stat().st_size, sha256_of(root / name)] for name in names if name != "zarr.json"}


def sha256_of(file: Path) -> str:
    """sha256 of one file, in hex."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _as_json(attributes: dict[str, Any], path: Path) -> dict[str, Any]:
    """The attributes as plain JSON values (numpy scalars become numbers); ValueError for NaN and infinity."""
    try:
        text = json.dumps(attributes, allow_nan=False, default=lambda value: value.item())
    except (ValueError, TypeError, AttributeError) as error:
        given = {name: value for name, value in attributes.items() if name != "files"}
        raise ValueError(f"{path}: attributes {given} hold a value that JSON has not: {error}") from None
    plain: dict[str, Any] = json.loads(text)
    return plain


def attributes_digest(attributes: dict[str, Any]) -> str:
    """sha256 over all attributes but ``digest``; the list of files is one, so it covers every byte of a store."""
    rest = {name: value for name, value in attributes.items() if name != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
