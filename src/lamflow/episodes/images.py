"""Episodes that are folders of pictures. Shapes: n pictures of an episode."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cached_property
from itertools import groupby
from math import inf
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from lamflow.episodes.action_table import ActionTable, read_action_table
from lamflow.episodes.files import files_in
from lamflow.episodes.fit import FrameFit
from lamflow.episodes.images_settings import ENDINGS, LOSSY_ENDINGS, ImagesSettings
from lamflow.episodes.interface import Described, EpisodeEntry, Piece, RecordedEpisode
from lamflow.episodes.pieces import check_size, rows_per_piece, shape_of_frames, spans
from lamflow.spaces import Pixels

FRAMES = "frames"
TURNED = range(5, 9)
"""Orientations by which the sides of a picture are exchanged."""


class ImagesSource:
    """See ``ImagesSettings``."""

    def __init__(self, *, settings: ImagesSettings, fit: FrameFit) -> None:
        self.settings = settings
        self.fit = fit

    def describe(self) -> Described:
        """Found from the first picture of each episode; others may turn out to be of another size."""
        shape = shape_of_frames(self.fit, ((str(files[0]), *_size(files[0])) for files in self._pictures.values()))
        table = self._table
        files = [file for pictures in self._pictures.values() for file in pictures]
        return Described(
            observation={FRAMES: Pixels((*shape, 3))},
            main=FRAMES,
            action=None if table is None else table.space,
            episodes=tuple(self._entry(name) for name in self._pictures),
            lossy=any(file.suffix.lower() in LOSSY_ENDINGS for file in files),
            action_names=() if table is None else table.action_names,
            notes=() if table is None else table.notes,
        )

    def episodes(self, names: Collection[str] | None = None) -> Iterator[RecordedEpisode]:
        """In the natural order of the folders' names."""
        for name in self._pictures:
            if names is None or name in names:
                yield RecordedEpisode(self._entry(name), self._pieces(name))

    @cached_property
    def _pictures(self) -> dict[str, list[Path]]:
        """The pictures of each episode, in their order."""
        folder = Path(self.settings.path)
        found: dict[str, list[Path]] = {}
        for parent, files in groupby(files_in(folder, ENDINGS, what="pictures"), key=lambda file: file.parent):
            name = parent.relative_to(folder).as_posix()
            found.setdefault(folder.resolve().name if name == "." else name, []).extend(files)
        return found

    @cached_property
    def _table(self) -> ActionTable | None:
        if self.settings.actions is None:
            return None
        table = read_action_table(Path(self.settings.actions))
        table.check_episodes(self._pictures)
        for name, files in self._pictures.items():
            table.check_length(name, len(files))
        return table

    def _entry(self, name: str) -> EpisodeEntry:
        rows = len(range(0, len(self._pictures[name]), self.settings.every))
        table, every = self._table, self.settings.every
        labelled = None if table is None else table.knows(name, 0, inf, every)
        return EpisodeEntry(name, rows, name.rpartition("/")[0], labelled)

    def _pieces(self, name: str) -> Iterator[Piece]:
        taken = np.arange(0, len(self._pictures[name]), self.settings.every)
        first = self._pictures[next(iter(self._pictures))][0]
        height, width = expected = _size(first)
        part = Pixels((*self.fit.shape_of(height, width), 3))
        for start, stop in spans(len(taken), rows_per_piece({FRAMES: part}, recorded_bytes=height * width * 3)):
            rows = taken[start:stop]
            frames = np.empty((len(rows), *part.shape), np.uint8)
            for place, row in enumerate(rows):
                file = self._pictures[name][row]
                _size(file)
                picture = _read(file)
                check_size(self.fit, str(file), picture.shape[:2], str(first), expected)
                frames[place] = self.fit.frames(picture[None])[0]
            actions, labelled = (None, None) if self._table is None else self._table.of(name, rows)
            yield Piece({FRAMES: frames}, actions, labelled)


def _size(file: Path) -> tuple[int, int]:
    """Height and width of a picture as people see it, of which only the beginning is read. ValueError for one of more than 8 bits: what is
    its brightest is not known."""
    try:
        with Image.open(file) as opened:
            mode, is_turned = opened.mode, opened.getexif().get(ExifTags.Base.Orientation, 1) in TURNED
            size = (opened.width, opened.height) if is_turned else (opened.height, opened.width)
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise _damaged(file, error) from error
    if mode.startswith(("I", "F")):
        raise ValueError(
            f"{file}: found a picture of the mode {mode}, expected 8 bits per channel: write it again as such"
        )
    return size


def _read(file: Path) -> NDArray[np.uint8]:
    """A picture uint8 [height, width, 3], RGB, as people see it: turned as its camera says, and black where it is transparent."""
    try:
        with Image.open(file) as opened:
            upright = ImageOps.exif_transpose(opened)
            if upright.has_transparency_data:
                shown = Image.new("RGBA", upright.size, "black")
                upright = Image.alpha_composite(shown, upright.convert("RGBA"))
            return np.asarray(upright.convert("RGB"), np.uint8)
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise _damaged(file, error) from error


def _damaged(file: Path, error: BaseException) -> ValueError:
    return ValueError(f"{file}: damaged, or no picture ({error}): write it again, or move it out of the folder")
