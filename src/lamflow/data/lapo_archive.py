"""Where the chunks of LAPO's data lie: in the zip as it is published, or in a folder into which somebody has unpacked it."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from lamflow.data.damage import named_damage
from lamflow.data.downloads import check_archive
from lamflow.data.sources import LapoSource
from lamflow.data.zip_member import member_bytes
from lamflow.envs.procgen_presets import PROCGEN_GAMES

FOLDER = "expert_data"
"""That of the games within the zips."""


class LapoArchive(Protocol):
    """Files by their names, with '/' between folders."""

    @property
    def path(self) -> Path:
        """The zip, or the folder of the game."""
        ...

    def names(self) -> list[str]:
        """Of all files."""
        ...

    def content(self, name: str, *, most_bytes: int) -> bytes:
        """Of a file; ValueError, which names it, when it is longer than ``most_bytes``, or damaged."""
        ...

    def stored_bytes(self, name: str) -> int:
        """The room that a file takes."""
        ...


class ZippedChunks:
    """A zip that is open."""

    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        self._archive, self._path = archive, path

    @property
    def path(self) -> Path:
        return self._path

    def names(self) -> list[str]:
        """Without the folders, which are members, too."""
        members = self._archive.infolist()
        return [member.filename for member in members if not (member.filename.endswith("/") and member.file_size == 0)]

    def content(self, name: str, *, most_bytes: int) -> bytes:
        """ValueError also when it is encrypted, or packed otherwise than by deflate."""
        return member_bytes(self._archive, self._archive.getinfo(name), most_bytes=most_bytes)

    def stored_bytes(self, name: str) -> int:
        return self._archive.getinfo(name).compress_size


class UnpackedChunks:
    """The folder of a game."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def path(self) -> Path:
        return self._path

    def names(self) -> list[str]:
        return sorted(file.relative_to(self._path).as_posix() for file in self._path.rglob("*") if file.is_file())

    def content(self, name: str, *, most_bytes: int) -> bytes:
        size = self.stored_bytes(name)
        if size > most_bytes:
            raise ValueError(f"{self._path}: {name}: found {size} bytes, expected at most {most_bytes}")
        return (self._path / name).read_bytes()

    def stored_bytes(self, name: str) -> int:
        return (self._path / name).stat().st_size


@contextmanager
def opened_archive(path: Path, source: LapoSource, game: str) -> Iterator[LapoArchive]:
    """The zip or folder at ``path``, open. ValueError when a zip is not as recorded, or damaged, or a folder has no chunks of ``game``."""
    if path.is_dir():
        yield UnpackedChunks(game_folder(path, game))
        return
    check_archive(path, source)
    with named_damage(str(path)):
        archive = zipfile.ZipFile(path)
    with archive:
        yield ZippedChunks(archive, path)


def game_folder(path: Path, game: str) -> Path:
    """The folder with ``train`` and ``test``: ``expert_data/<game>`` or ``<game>`` in ``path``, or ``path`` itself. ValueError without one,
    and for that of another game."""
    for folder in (path / FOLDER / game, path / game, path):
        if (folder / "train").is_dir() or (folder / "test").is_dir():
            if folder.name in PROCGEN_GAMES and folder.name != game:
                raise ValueError(
                    f"{folder}: found chunks of {folder.name}, expected chunks of {game}: give the folder of that game"
                )
            return folder
    raise ValueError(
        f"{path}: found no folder {game}/train or {game}/test, in it or in {FOLDER}, expected LAPO's data as they are unpacked: "
        f"{FOLDER}/{game}/{{train,test}}/<number>.npz"
    )
