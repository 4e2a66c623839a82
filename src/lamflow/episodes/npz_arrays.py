"""Arrays of a NumPy file, read in their order and a few rows at a time: one may be larger than the memory."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class StoredArray:
    """An array [rows, ...] in ``path``; ``member``: its name within an npz, None of an npy."""

    path: Path
    member: str | None
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __str__(self) -> str:
        return f"{self.path}, array {self.member.removesuffix('.npy')!r}" if self.member else str(self.path)

    @property
    def said(self) -> str:
        """Its dtype and shape, in words."""
        return f"{self.dtype} {list(self.shape)}"

    def blocks(self, rows: int) -> Iterator[NDArray[Any]]:
        """Its rows, ``rows`` at a time. ValueError, which names the file, where it is damaged."""
        row_bytes = self.dtype.itemsize * prod(self.shape[1:])
        with _readable(self.path), _opened(self.path, self.member) as stream:
            _header(stream)
            for start in range(0, self.shape[0], rows):
                wanted = min(rows, self.shape[0] - start)
                content = stream.read(wanted * row_bytes)
                if len(content) < wanted * row_bytes:
                    raise EOFError(f"its data end in row {start + len(content) // max(1, row_bytes)}")
                yield np.frombuffer(content, self.dtype).reshape(wanted, *self.shape[1:])

    def values(self) -> NDArray[Any]:
        """All rows."""
        return np.concatenate([np.zeros((0, *self.shape[1:]), self.dtype), *self.blocks(1 << 20)])


def arrays_of(path: Path) -> dict[str, StoredArray]:
    """The arrays of an npz by their names, or those of an npy, ``frames``, and of the files beside it, ``actions`` and others. Only their
    beginnings are read. ValueError names the file that is damaged."""
    if path.suffix == ".npy":
        beside = {name: other for name in BESIDE for other in _beside(path, name) if other.is_file()}
        return {name: _stored(file, None) for name, file in ({"frames": path} | beside).items()}
    with _readable(path), zipfile.ZipFile(path) as archive:
        members = [name for name in archive.namelist() if name.endswith(".npy")]
    return {member.removesuffix(".npy"): _stored(path, member) for member in members}


BESIDE = ("actions", "rewards", "terminated")


def is_beside(path: Path) -> bool:
    """Whether an npy holds the actions, rewards or ends of another one."""
    return path.suffix == ".npy" and any(path.stem.endswith((f"_{name}", f".{name}")) for name in BESIDE)


def _beside(path: Path, name: str) -> Iterator[Path]:
    for joint in "_.":
        yield path.with_name(f"{path.stem}{joint}{name}.npy")


def _stored(path: Path, member: str | None) -> StoredArray:
    with _readable(path), _opened(path, member) as stream:
        shape, fortran, dtype = _header(stream)
    stored = StoredArray(path, member, shape, dtype)
    if dtype.hasobject or not shape or (fortran and len(shape) > 1):
        what = "Python objects" if dtype.hasobject else "one number" if not shape else "Fortran's order"
        raise ValueError(f"{stored}: found {what}, expected rows of numbers: write it by `numpy.ascontiguousarray`")
    return stored


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    return tuple(shape), bool(fortran), np.dtype(dtype)


@contextmanager
def _opened(path: Path, member: str | None) -> Iterator[IO[bytes]]:
    if member is None:
        with path.open("rb") as stream:
            yield stream
    else:
        with zipfile.ZipFile(path) as archive, archive.open(member) as stream:
            yield stream


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """What zip and NumPy raise of a damaged file, as a ValueError that names it."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, KeyError, ValueError, NotImplementedError) as error:
        raise ValueError(
            f"{path}: damaged, or no NumPy file ({type(error).__name__}: {error}): write it again, or move it out of the folder"
        ) from error
