"""A camera's pictures of an episode, from a video file or from images in the parquet file, beside the rows that they belong to.

Shapes: n rows, H x W the size of the frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from lamflow.episodes.fit import FrameFit
from lamflow.episodes.lerobot_layout import Layout, LeRobotEpisode
from lamflow.episodes.lerobot_rows import batches_of
from lamflow.episodes.lerobot_videos import VideoReader, codec_of, is_lossy, open_video

_LOSSLESS_IMAGES = ("PNG", "BMP", "TIFF", "PPM")


@dataclass(frozen=True)
class Recorded:
    """How pictures were recorded: pixels high and wide, by which codec, and whether it changes pixels."""

    height: int
    width: int
    codec: str
    lossy: bool


class Pictures(Protocol):
    """``columns``: those of the parquet files that it needs."""

    columns: tuple[str, ...]

    def recorded(self) -> Recorded:
        """How the first picture was recorded; ValueError where it cannot be read."""
        ...

    def begin(self, episode: LeRobotEpisode) -> None:
        """What is taken next is of this episode."""
        ...

    def take(self, rows: pa.RecordBatch, first: int) -> NDArray[np.uint8]:
        """Frames uint8 [n, H, W, 3] of the episode's next rows; ``first``: the place of the first of them in the episode. ValueError where
        there are fewer."""
        ...

    def end(self) -> None:
        """ValueError where the episode has pictures beyond its rows."""
        ...

    def close(self) -> None:
        """Lets go of files."""
        ...


def pictures_of(layout: Layout, camera: str, fit: FrameFit) -> Pictures:
    """Those of a camera, wherever it keeps them."""
    if layout.features[camera]["dtype"] == "video":
        return VideoPictures(layout, camera, fit)
    return ImagePictures(layout, camera, fit)


class VideoPictures:
    """Of a camera that keeps them in video files: the k-th picture of an episode's range belongs to its k-th row."""

    columns: tuple[str, ...] = ()

    def __init__(self, layout: Layout, camera: str, fit: FrameFit) -> None:
        self._layout, self._camera, self._fit = layout, camera, fit
        self._reader = VideoReader(layout.frames_per_second)
        self._episode = layout.episodes[0]
        self._frames: Iterator[NDArray[np.uint8]] = iter(())

    def recorded(self) -> Recorded:
        path = self._layout.video_of(self._layout.episodes[0], self._camera).path
        with open_video(path) as container:
            codec = container.streams.video[0].codec_context
            return Recorded(codec.height, codec.width, codec_of(container), is_lossy(path, container))

    def begin(self, episode: LeRobotEpisode) -> None:
        self._episode = episode
        pictures = self._reader.pictures_of(self._layout.video_of(episode, self._camera))
        self._frames = (self._fit.frame(picture) for picture in pictures)

    def take(self, rows: pa.RecordBatch, first: int) -> NDArray[np.uint8]:
        where = f"{self._path}: episode {self._episode.index}"
        frames: list[NDArray[np.uint8]] = []
        try:
            frames.extend(islice(self._frames, rows.num_rows))
        except ValueError as error:
            raise ValueError(f"{where}, frame {first + len(frames)}: {error}") from error
        if len(frames) < rows.num_rows:
            raise ValueError(
                f"{where}: found {first + len(frames)} frames, expected {self._episode.rows}, one per row of {self._episode.data}: frame "
                f"{first + len(frames)} is missing: the video was cut short, or the offsets in meta/episodes are wrong, as in sets that "
                "were put together"
            )
        return stacked(frames, where, first)

    def end(self) -> None:
        if next(self._frames, None) is not None:
            raise ValueError(
                f"{self._path}: episode {self._episode.index}: found more than {self._episode.rows} frames, expected one per row of "
                f"{self._episode.data}: rows were lost, or the offsets in meta/episodes are wrong, as in sets that were put together"
            )

    def close(self) -> None:
        self._reader.close()

    @property
    def _path(self) -> Path:
        return self._layout.video_of(self._episode, self._camera).path


class ImagePictures:
    """Of a camera that keeps them as image files within the rows, or beside them where the rows name their paths."""

    def __init__(self, layout: Layout, camera: str, fit: FrameFit) -> None:
        self._layout, self._camera, self._fit = layout, camera, fit
        self._episode = layout.episodes[0]
        self.columns: tuple[str, ...] = (camera,)

    def recorded(self) -> Recorded:
        batch = next(batches_of(self._episode.data, self.columns, 1), None)
        if batch is None:
            raise ValueError(f"{self._episode.data}: found no row, expected those of episode {self._episode.index}")
        with self._opened(batch.column(self._camera)[0].as_py(), 0) as image:
            kind = str(image.format)
            return Recorded(image.height, image.width, kind.lower(), kind not in _LOSSLESS_IMAGES)

    def begin(self, episode: LeRobotEpisode) -> None:
        self._episode = episode

    def take(self, rows: pa.RecordBatch, first: int) -> NDArray[np.uint8]:
        frames = []
        for place, cell in enumerate(rows.column(self._camera), start=first):
            with self._opened(cell.as_py(), place) as image:
                frames.append(self._fit.frames(np.asarray(image.convert("RGB"), np.uint8)[None])[0])
        return stacked(frames, self._where, first)

    def end(self) -> None:
        """A row has one picture."""

    def close(self) -> None:
        """Nothing is open."""

    @property
    def _where(self) -> str:
        return f"{self._episode.data}: episode {self._episode.index}"

    def _opened(self, cell: Any, place: int) -> Image.Image:
        held = cell.get("bytes") if isinstance(cell, dict) else cell
        path = cell.get("path") if isinstance(cell, dict) else None
        try:
            if held is None and path:
                return Image.open(self._layout.root / path)
            return Image.open(BytesIO(held or b""))
        except (OSError, UnidentifiedImageError, TypeError) as error:
            raise ValueError(
                f"{self._where}, frame {place}: found no picture in the column {self._camera}, expected a PNG or JPEG file: {error}"
            ) from error


def stacked(frames: list[NDArray[np.uint8]], where: str, first: int) -> NDArray[np.uint8]:
    """Frames uint8 [n, H, W, 3]; ValueError where they differ in size."""
    for place, frame in enumerate(frames, start=first):
        if frame.shape != frames[0].shape:
            raise ValueError(
                f"{where}, frame {place}: found {frame.shape[0]} x {frame.shape[1]} pixels, expected {frames[0].shape[0]} x "
                f"{frames[0].shape[1]} as before: set `frames: {{height: 64, width: 64}}`"
            )
    return np.stack(frames)
