"""Which video files there are below a path, and what they are called."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from lamflow.episodes.files import files_below

ENDINGS = (".mp4", ".webm", ".avi", ".gif", ".mkv", ".mov", ".m4v")


@dataclass(frozen=True)
class Recording:
    """A video file. ``name``: its path within the folder that was given, without the ending; ``group``: the folder in that name, '' where
    there is none."""

    path: Path
    name: str

    @property
    def group(self) -> str:
        return self.name.rpartition("/")[0]


def has_recordings(path: Path) -> bool:
    """Whether ``path`` is a video file, or a folder with one that is no data set of another layout."""
    if path.is_dir():
        is_lerobot = path.joinpath("meta", "info.json").is_file()
        return not is_lerobot and any(_video_files(path))
    return path.is_file() and _is_video(path)


def recordings_at(path: Path) -> tuple[Recording, ...]:
    """The video files at or below ``path``, in the natural order of their names: clip2 before clip10. ValueError where there is none, and
    where two have the same name."""
    if path.is_file():
        if not _is_video(path):
            raise ValueError(f"{path}: found a file that ends in {path.suffix!r}, expected one of {_endings()}")
        return (Recording(path, path.stem),)
    if not path.is_dir():
        raise ValueError(f"{path}: found nothing there, expected a video file or a folder of them ({_endings()})")
    named = [Recording(file, file.relative_to(path).with_suffix("").as_posix()) for file in _video_files(path)]
    if not named:
        raise ValueError(f"{path}: found {_what_is_in(path)}, expected at least one video file ({_endings()})")
    found = sorted(named, key=lambda recording: (_natural(recording.name), recording.path))
    for before, after in pairwise(found):
        if before.name == after.name:
            raise ValueError(
                f"{before.path} and {after.path}: found two recordings of the name {after.name!r}, expected a name once, as an "
                "episode is called as its file without the ending: rename or remove one"
            )
    return tuple(found)


def _video_files(folder: Path) -> Iterator[Path]:
    """Without what systems hide, such as the ``._clip.mp4`` that macOS puts beside a ``clip.mp4``."""
    return (file for file in files_below(folder) if _is_video(file))


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts numbers in names by their value."""
    parts = re.split(r"([0-9]+)", name)
    return [(int(part), "") if place % 2 else (-1, part) for place, part in enumerate(parts)]


def _what_is_in(folder: Path) -> str:
    counts = Counter(file.suffix or file.name for file in files_below(folder))
    return ", ".join(f"{count} of {ending}" for ending, count in counts.most_common(5)) or "an empty folder"


def _endings() -> str:
    return ", ".join(ENDINGS)
