"""The files of a tar.xz in its order, none held in memory; what tarfile would pass over in silence is refused."""

from __future__ import annotations

import lzma
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Final

from lamflow.data.damage import named_damage

WHOLE: Final = "a whole .tar.xz"
_MAX_HEADER_BYTES: Final = 1 << 20
_READ_BYTES: Final = 1 << 20


def tar_xz_files(archive: Path) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    """Each file's entry and its content, which can be read until the next one is asked for.

    ValueError names the archive: for a damaged or truncated one, and, with the member, for what is neither file nor folder.
    """
    with ExitStack() as opened:
        stored = _TarBytes(opened.enter_context(lzma.open(archive)))
        with named_damage(str(archive), WHOLE):
            files = opened.enter_context(tarfile.open(fileobj=stored, mode="r|"))  # type: ignore[call-overload]  # it reads alone
        while (member := _next(archive, files, stored)) is not None:
            if member.isreg() and not member.issparse():
                stream = files.extractfile(member)
                assert stream is not None, "it is a file"
                yield member, stream
            elif not member.isdir():
                raise ValueError(
                    f"{archive}: {member.name}: found a member of tar type {member.type!r} (a link, a device, a sparse file or unknown), "
                    "expected files and folders"
                )


def _next(archive: Path, files: tarfile.TarFile, stored: _TarBytes) -> tarfile.TarInfo | None:
    with named_damage(str(archive), WHOLE):
        member = files.next()
        if member is None:
            stored.check_end(files.offset)
        elif member.size < 0:
            raise tarfile.ReadError(f"{member.name} has {member.size} bytes")
        else:
            stored.expect(member)
        return member


class _TarBytes:
    """What a tar.xz unpacks to, as tarfile reads it: no headers longer than ``_MAX_HEADER_BYTES``, which it would hold in memory."""

    def __init__(self, unpacked: lzma.LZMAFile) -> None:
        self._unpacked = unpacked
        self._position = 0
        self._block = b""
        self._most = _MAX_HEADER_BYTES

    def read(self, size: int) -> bytes:
        if self._position > self._most:
            raise tarfile.ReadError(f"headers of more than {_MAX_HEADER_BYTES} bytes before byte {self._position}")
        self._block = self._unpacked.read(size)
        self._position += len(self._block)
        return self._block

    def expect(self, member: tarfile.TarInfo) -> None:
        """The data of ``member`` may be read, and the headers behind them."""
        self._most = member.offset_data + member.size + _MAX_HEADER_BYTES

    def check_end(self, end: int) -> None:
        """ReadError unless an empty block is at byte ``end``, and nothing but zeros behind it: tarfile takes whatever is no header
        for the archive's end."""
        rest = self._block[end - self._position :] if end < self._position else b""
        if len(rest) < tarfile.BLOCKSIZE:
            raise tarfile.ReadError(f"it has no end, expected an empty block at byte {end}")
        while rest:
            if rest.strip(b"\0"):
                raise tarfile.ReadError(f"found what is no header behind byte {end}, expected the archive's end")
            rest = self._unpacked.read(_READ_BYTES)  # up to the end, where a truncated file shows
