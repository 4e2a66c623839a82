"""Pictures of episodes that follow one another in video files: each file is opened once and decoded in order."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import av

from lamflow.episodes.decoding import changes_pictures
from lamflow.episodes.lerobot_layout import VideoRange

WORTH_A_SEEK = 5.0
"""Seconds between two episodes that are read, from which on decoding what lies between takes longer than to look for a key frame."""


class VideoReader:
    """Decodes the ranges of video files, in the order in which they are asked for."""

    def __init__(self, frames_per_second: float) -> None:
        self._half = 0.5 / frames_per_second
        self._path: Path | None = None
        self._container: av.container.InputContainer | None = None
        self._pictures: Iterator[av.VideoFrame] = iter(())
        self._next: av.VideoFrame | None = None
        self._passed = -math.inf

    def pictures_of(self, part: VideoRange) -> Iterator[av.VideoFrame]:
        """The pictures whose time is in ``part``, to half a frame. ValueError where the file cannot be decoded."""
        self._find(part.path, part.start - self._half)
        while self._next is not None and _time(self._next) < part.stop - self._half:
            yield self._next
            self._advance()

    def close(self) -> None:
        """Closes the file."""
        if self._container is not None:
            self._container.close()
        self._container, self._path, self._next, self._pictures = None, None, None, iter(())

    def _find(self, path: Path, earliest: float) -> None:
        """Stands before the first picture that is not before ``earliest``."""
        if self._path != path or self._passed >= earliest:
            self._open(path)
        if self._next is not None and earliest - _time(self._next) > WORTH_A_SEEK:
            self._seek(earliest)
        while self._next is not None and _time(self._next) < earliest:
            self._advance()

    def _open(self, path: Path) -> None:
        self.close()
        self._path, self._container = path, open_video(path)
        self._pictures = _decoded(path, self._container)
        self._passed, self._next = -math.inf, next(self._pictures, None)

    def _seek(self, earliest: float) -> None:
        """To the last key frame that is not after ``earliest``; back to the beginning where the file's index leads beyond it."""
        assert self._container is not None and self._path is not None
        stream = self._container.streams.video[0]
        assert stream.time_base is not None
        self._container.seek(int(earliest / stream.time_base), stream=stream)
        self._pictures = _decoded(self._path, self._container)
        self._next = next(self._pictures, None)
        if self._next is None or _time(self._next) > earliest + 2 * self._half:
            self._open(self._path)

    def _advance(self) -> None:
        assert self._next is not None
        self._passed = _time(self._next)
        self._next = next(self._pictures, None)


def open_video(path: Path) -> av.container.InputContainer:
    """ValueError where it is no video, or has lost its index."""
    try:
        container = av.open(str(path))
    except (av.FFmpegError, OSError) as error:
        raise ValueError(
            f"{path}: could not be opened as a video: {error}: it is damaged or was cut short; copy it again"
        ) from error
    if not container.streams.video:
        raise ValueError(f"{path}: found no video in the file, expected one")
    return container


def codec_of(container: av.container.InputContainer) -> str:
    """Its name for the codec, whichever decoder it is read with."""
    return str(container.streams.video[0].codec_context.codec.canonical_name)


def is_lossy(path: Path, container: av.container.InputContainer) -> bool:
    """Whether the codec of a video changes pixels. ValueError where its first picture cannot be decoded."""
    first = next(_decoded(path, container), None)
    return first is not None and changes_pictures(container.streams.video[0], first)


def _decoded(path: Path, container: av.container.InputContainer) -> Iterator[av.VideoFrame]:
    last = -math.inf
    try:
        for picture in container.decode(video=0):
            last = _time(picture)
            yield picture
    except av.FFmpegError as error:
        read = f"after the picture at {last:g} s" if last >= 0 else "at its first picture"
        raise ValueError(
            f"{path}: could not be decoded {read}: {error}: it is damaged or was cut short; copy it again"
        ) from error


def _time(picture: av.VideoFrame) -> float:
    """Seconds from the begin of the file; 0 where a file has no times."""
    return picture.time if picture.time is not None else 0.0
