"""npy arrays, alone or in an npz, of which nothing is believed: sizes are compared before anything is read.

Of damaged content its readers raise whatever their parsers do, above all EOFError and BadZipFile: see ``damage``.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
from collections import Counter
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from lamflow.data.zip_member import MemberReader

_MAX_HEADER_BYTES: Final = 10_000
"""Numpy parses no longer one, but reads it first, up to 4 GB."""
_LENGTH_FORMATS: Final = {(1, 0): "<H", (2, 0): "<I", (3, 0): "<I"}
Header = tuple[tuple[int, ...], bool, np.dtype[Any]]


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def npy_header(stored: _Readable) -> Header:
    """Shape, Fortran order and dtype of an npy file, read up to its data; EOFError for what is none."""
    start = stored.read(8)
    version = tuple(start[6:8])
    if not start.startswith(b"\x93NUMPY") or version not in _LENGTH_FORMATS:
        raise EOFError(f"no npy array: it begins with {start!r}")
    written = stored.read(struct.calcsize(_LENGTH_FORMATS[version]))
    try:
        (length,) = struct.unpack(_LENGTH_FORMATS[version], written)
        if length > _MAX_HEADER_BYTES:
            raise ValueError(f"a header of {length} bytes, expected at most {_MAX_HEADER_BYTES}")
        text = io.BytesIO(written + stored.read(length))
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        header: Header = read(text)
    except Exception as error:  # numpy's parser is Python's, which raises much for damaged text
        raise EOFError(f"no npy array: {error}") from None
    return header


class NpyStream:
    """An array of an npz, read in its order: ``shape``, ``fortran`` (order) and ``dtype`` as its header says; a context manager."""

    def __init__(self, stored: MemberReader) -> None:
        self._stored = stored
        self.shape, self.fortran, self.dtype = npy_header(stored)

    def __enter__(self) -> NpyStream:
        return self

    def __exit__(self, *problem: object) -> None:
        self._stored.__exit__(*problem)

    def rewind(self) -> None:
        """Go back to the array's first entry."""
        self._stored.rewind()
        npy_header(self._stored)

    def read_into(self, target: memoryview) -> None:
        """Fill ``target``, of bytes; EOFError when fewer are left."""
        while target:
            count = self._stored.readinto(target)
            if not count:
                raise EOFError("its data end early")
            target = target[count:]

    def check_end(self) -> None:
        """EOFError unless all was read; BadZipFile when the checksum is wrong."""
        if self._stored.read(1):
            raise EOFError("found data behind its end")

    def values(self) -> NDArray[Any]:
        """The array. Its size is what the header says: compare that first."""
        if self.dtype.hasobject or any(side < 0 for side in self.shape):
            raise EOFError(f"no numbers: {self.dtype} {list(self.shape)}")
        content = bytearray(math.prod(self.shape) * self.dtype.itemsize)
        self.read_into(memoryview(content))
        self.check_end()
        return np.frombuffer(content, self.dtype).reshape(self.shape, order="F" if self.fortran else "C")


class NpzFile:
    """The npz ``content``; ``keys`` are the names of its arrays. BadZipFile for what is none, and for two arrays of one name."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
        self._members = {member.filename.removesuffix(".npy"): member for member in members}
        twice = [name for name, count in Counter(member.filename for member in members).items() if count > 1]
        if twice or len(self._members) < len(members):
            raise zipfile.BadZipFile(f"it holds {', '.join(twice) or 'an array'} twice")

    @property
    def keys(self) -> list[str]:
        return list(self._members)

    def open(self, key: str) -> NpyStream:
        """The array ``key``, whose header is read."""
        return NpyStream(MemberReader(self._content, self._members[key]))
