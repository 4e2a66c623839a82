"""Which files a source of recorded episodes has, and whether they have changed: told by names, sizes and times, for they may be large."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path


def files_digest(paths: Iterable[str | Path]) -> str:
    """Of the names, sizes and times of change of files, and of all that ``files_below`` finds in folders; what is not there counts as
    that."""
    digest = hashlib.sha256()
    for path in map(Path, paths):
        digest.update(f"{path}\n".encode())
        for file in sorted(files_below(path)) if path.is_dir() else [path]:
            if file.is_file():
                found = file.stat()
                name = file.relative_to(path) if file != path else ""
                digest.update(f"{name} {found.st_size} {found.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:24]


def files_in(folder: Path, endings: Iterable[str], *, what: str) -> list[Path]:
    """The files in a folder, at any depth, that have one of the endings, in the natural order of their names; hidden ones are left out.
    ValueError where there is no such folder, or none of ``what`` in it."""
    wanted = tuple(endings)
    if not folder.is_dir():
        found = "a file" if folder.exists() else "no such folder"
        raise ValueError(f"{folder}: found {found}, expected a folder of {what} ({', '.join(wanted)})")
    files = [file for file in files_below(folder) if file.suffix.lower() in wanted]
    if not files:
        others = sorted({file.suffix or file.name for file in files_below(folder)})[:5]
        found = f"none, but files of {', '.join(others)}" if others else "an empty folder"
        raise ValueError(
            f"{folder}: found {found}, expected {what} ({', '.join(wanted)}): check `path`, which begins at the folder in which the run is "
            "started"
        )
    return sorted(files, key=lambda file: natural_order(file.relative_to(folder).as_posix()))


def natural_order(name: str) -> tuple[tuple[int, int, str], ...]:
    """A key by which frame2 comes before frame10."""
    parts = re.split(r"(\d+)", name)
    return tuple((0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts if part)


def check_names(names: Iterable[tuple[str, Path]]) -> None:
    """ValueError where two episodes have one name; pairs of a name and where its episode lies."""
    first: dict[str, Path] = {}
    for name, path in names:
        if name in first:
            raise ValueError(
                f"{path}: found an episode of the name {name!r}, which {first[name]} has as well, expected a name once: rename one of "
                "them, or move it out of the folder"
            )
        first[name] = path


def files_below(folder: Path) -> Iterator[Path]:
    """The files in a folder at any depth, without hidden ones and those in hidden folders. A link to a folder elsewhere is followed, once;
    of one to a folder within this one the files are there anyway. A link to nothing is among them, so that its reader says so."""
    root, seen = folder.resolve(), set[Path]()
    for parent, folders, files in os.walk(folder, followlinks=True):
        kept = []
        for name in sorted(folders):
            path = Path(parent, name)
            target = path.resolve()
            if name.startswith(".") or (path.is_symlink() and (target.is_relative_to(root) or target in seen)):
                continue
            seen.add(target)
            kept.append(name)
        folders[:] = kept
        yield from (Path(parent, name) for name in sorted(files) if not name.startswith("."))
