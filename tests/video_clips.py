"""Clips that tests encode: each picture shows its number in bars, so that it is known again after a lossy codec."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("SVT_LOG", "1")
"""SVT-AV1 says only what goes wrong."""
BITS = 8
LOSSLESS = {"codec": "ffv1", "pixel_format": "bgr0"}


def clip(count: int, height: int = 64, width: int = 96, first: int = 0) -> NDArray[np.uint8]:
    """uint8 [count, height, width, 3]: coloured pictures; the upper half shows the number in ``BITS`` bars, the highest bit at the left."""
    rows, columns = np.mgrid[0:height, 0:width]
    pictures = np.empty((count, height, width, 3), np.uint8)
    bars = columns[: height // 2] * BITS // width
    for place in range(count):
        pictures[place, ..., 0] = columns * 255 // width
        pictures[place, ..., 1] = rows * 255 // height
        pictures[place, ..., 2] = 70
        is_set = (first + place >> (BITS - 1 - bars)) & 1
        pictures[place, : height // 2] = (is_set * 200 + 25)[..., None]
    return pictures


def numbers(frames: NDArray[Any]) -> list[int]:
    """What pictures of any size show."""
    height, width = frames.shape[1:3]
    middles = (np.arange(BITS) * 2 + 1) * width // (2 * BITS)
    is_set = frames[:, height // 4, middles].mean(axis=-1) > 125
    return (is_set @ (1 << np.arange(BITS)[::-1])).tolist()


def write_video(
    path: Path,
    pictures: NDArray[Any],
    *,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    given: str = "rgb24",
    options: Mapping[str, str] | None = None,
    container: Mapping[str, str] | None = None,
    rate: int = 30,
    times: Sequence[int] | None = None,
    turned: tuple[float, bool] | None = None,
    colorspace: int | None = None,
) -> Path:
    """Encode pictures; ``times``: in ticks of a millisecond; ``turned``: degrees and whether it is mirrored."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=dict(container or {})) as opened:
        stream: Any = opened.add_stream(codec, rate=rate, options=dict(options or {}))
        stream.height, stream.width = pictures.shape[1:3]
        stream.pix_fmt = pixel_format
        if turned is not None:
            stream.set_display_rotation(turned[0], turned[1])
        if colorspace is not None:
            stream.codec_context.colorspace, stream.codec_context.color_range = colorspace, 1
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for place, pixels in enumerate(pictures):
            picture = av.VideoFrame.from_ndarray(pixels, format=given)
            if colorspace is not None:
                picture = picture.reformat(format=pixel_format, dst_colorspace=colorspace)
                picture.colorspace = colorspace
            if times is not None:
                picture.pts, picture.time_base = times[place], Fraction(1, 1000)
            opened.mux(stream.encode(picture))
        opened.mux(stream.encode())
    return path


def write_moved(
    path: Path, source: Path, frames: int, rate: int = 30, container: Mapping[str, str] | None = None
) -> Path:
    """The packets of ``source``, so many frames later; earlier ones than 0 are hidden by an edit list, as cutting without encoding does."""
    with av.open(str(source)) as given, av.open(str(path), "w", options=dict(container or {})) as opened:
        stream = given.streams.video[0]
        copied: Any = opened.add_stream_from_template(stream, opaque=True)
        assert stream.time_base is not None
        ticks = round(frames / rate / stream.time_base)
        for packet in given.demux(stream):
            if packet.pts is not None and packet.dts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts + ticks, packet.dts + ticks, copied
                opened.mux(packet)
    return path
