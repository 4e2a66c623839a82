"""Copies of arrays on a disk of the node's own, for trainings that stream them again and again from a shared file system."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from lamflow.data.chunk_reader import RowReader, Rows
from lamflow.data.joined import JoinedRows

VARIABLE = "LAMFLOW_SCRATCH"
"""Names the folder; ``$NAME`` within it stands for a variable of the job's, as in ``$TMPDIR``."""


def on_scratch(reader: Rows) -> Rows:
    """The same rows, read from a copy under ``LAMFLOW_SCRATCH`` where that is set and has room; else ``reader`` itself.

    A copy is made once a node and version of the array: under a temporary name, renamed when it is whole; jobs on one node wait
    for each other. It stays there: the site removes a job's own folder, people remove others. Each array of several is copied for itself.
    """
    if isinstance(reader, JoinedRows):
        return JoinedRows(tuple(map(_copied, reader.parts)))
    return _copied(reader) if isinstance(reader, RowReader) else reader


def _copied(reader: RowReader) -> RowReader:
    scratch = os.path.expandvars(os.environ.get(VARIABLE, ""))
    if not scratch:
        return reader
    if "$" in scratch or not Path(scratch).is_absolute():
        print(f"{VARIABLE}: found {scratch!r}, expected an absolute path; {reader.folder} is read where it is")
        return reader
    files = sorted(path for path in reader.folder.rglob("*") if path.is_file())
    copied = Path(scratch, "lamflow", _version(reader.folder, files))
    try:
        with _alone(copied):
            if not copied.exists():
                copy_folder(reader.folder, copied, num_bytes=sum(path.stat().st_size for path in files))
    except OSError as error:
        print(f"{VARIABLE}: {reader.folder} is read where it is, for it could not be copied to {copied}: {error}")
        return reader
    print(f"{reader.folder} is read from its copy {copied}")
    return replace(reader, folder=copied)


def _version(folder: Path, files: list[Path]) -> str:
    """A name for the array's present contents."""
    parts = [str(folder.resolve())]
    parts += [f"{path.relative_to(folder)} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


@contextmanager
def _alone(copied: Path) -> Iterator[None]:
    """Jobs and processes that want the same copy come one after the other."""
    copied.parent.mkdir(parents=True, exist_ok=True)
    with copied.with_suffix(".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def copy_folder(folder: Path, copied: Path, *, num_bytes: int) -> None:
    """Copy a folder so that it is there whole or not at all; OSError where there is no room for its ``num_bytes``."""
    free = shutil.disk_usage(copied.parent).free
    if num_bytes > free:
        raise OSError(f"found {free / 2**30:.1f} GiB of free space, expected {num_bytes / 2**30:.1f} GiB")
    temporary = Path(tempfile.mkdtemp(dir=copied.parent, prefix=".copying-"))
    try:
        shutil.copytree(folder, temporary / "array")
        temporary.joinpath("array").rename(copied)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
