"""How recorded pictures of any size become frames of one: kept, resized, or letterboxed.

FFmpeg's scaler does it (through PyAV), by area averages, the same for all sources, so that a picture gives the same frame from a video file
and from an array.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import av
import numpy as np
from numpy.typing import NDArray

SMALLEST_SIDE, LARGEST_SIDE = 32, 256
Fit = Literal["resize", "letterbox"]


@dataclass(frozen=True)
class FrameFit:
    """``height`` and ``width`` of the frames in pixels, both None: as recorded. ``fit``: the picture fills the frame, or keeps its
    proportions in the middle of a black one."""

    height: int | None = None
    width: int | None = None
    fit: Fit = "resize"

    def shape_of(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the frames that pictures of this size become. ValueError where a side is out of the range that networks
        take."""
        shape = (self.height or height, self.width or width)
        if not all(SMALLEST_SIDE <= side <= LARGEST_SIDE for side in shape):
            raise ValueError(
                f"found frames of {shape[0]} x {shape[1]} pixels (height x width), expected sides of {SMALLEST_SIDE} to {LARGEST_SIDE}: "
                "set `frames: {height: 64, width: 64}`"
            )
        return shape

    def frame(self, picture: av.VideoFrame) -> NDArray[np.uint8]:
        """A decoded picture as uint8 [height, width, 3], RGB."""
        height, width = self.shape_of(picture.height, picture.width)
        if self.fit == "letterbox":
            scale = min(height / picture.height, width / picture.width)
            inner = (max(1, round(picture.height * scale)), max(1, round(picture.width * scale)))
        else:
            inner = (height, width)
        scaled = np.asarray(
            picture.reformat(inner[1], inner[0], format="rgb24", interpolation="AREA", threads=1).to_ndarray(), np.uint8
        )
        if inner == (height, width):
            return scaled
        top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
        frame = np.zeros((height, width, 3), np.uint8)
        frame[top : top + inner[0], left : left + inner[1]] = scaled
        return frame

    def frames(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Pictures uint8 [n, H, W, 3], RGB, as frames uint8 [n, height, width, 3]."""
        if self.shape_of(*pictures.shape[1:3]) == pictures.shape[1:3]:
            return pictures
        return np.stack([self.frame(av.VideoFrame.from_ndarray(picture, format="rgb24")) for picture in pictures])
