"""Video files through FFmpeg (PyAV): what a file says of itself, and its pictures once, in order, without a seek."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from lamflow.episodes.upright import Turn, side_data

USUAL_RATE = 30
"""Where a container does not say how many frames it has per second."""
PROBED_PACKETS, MOST_REORDERED = 300, 16
"""Packets come in the order of decoding: the last of those that were looked at may be followed by some that are shown before them."""
INDEXED = ("mov", "avi")
"""Containers that list all their frames."""
EVEN_TICKS = 1.5
"""Times are rounded to ticks: WebM's at 30 frames per second are 33 or 34 ms apart, GIF's 3 or 4 hundredths."""
EVEN_SHARE = 0.1
MISSED_SECONDS = 1.0
"""The last frame may be shown for long: a recording is cut short where more than this is missing of what Matroska says."""


@dataclass(frozen=True)
class VideoFacts:
    """Of one video.

    ``height``, ``width``: of its pictures when they are upright; ``num_frames``: as the container says, None where it does not, or may be
    wrong; ``rate``: frames per second in the mean; ``lossy``: its codec changes pictures; ``intervals``: the shortest and the longest
    time between frames in seconds, None where all are alike, as far as is known without decoding; ``pixel_aspect``: width over height
    of a pixel.
    """

    height: int
    width: int
    num_frames: int | None
    rate: float | None
    codec: str
    pixel_format: str
    lossy: bool
    intervals: tuple[float, float] | None
    pixel_aspect: float


@dataclass(frozen=True)
class Picture:
    """A decoded one. ``number``: its place in the recording from 0; ``seconds``: since the first one."""

    number: int
    seconds: float
    image: av.VideoFrame
    turn: Turn


def video_facts(path: Path) -> VideoFacts:
    """Decodes the first picture alone. ValueError where there is none."""
    with _opened(path) as (container, stream):
        first, ticks = _first_picture(container, stream)
        if first is None:
            raise ValueError(
                f"{path}: no frame could be read ({stream.codec.canonical_name}), expected a video: is the file whole?"
            )
        if _is_indexed(container):
            ticks = [entry.timestamp for entry in stream.index_entries]
        height, width = Turn.of(first).shape_of(first)
        aspect = float(stream.sample_aspect_ratio or 1)
        return VideoFacts(
            height=height,
            width=width,
            num_frames=_num_frames(container, stream),
            rate=float(stream.average_rate) if stream.average_rate else None,
            codec=stream.codec.canonical_name,
            pixel_format=first.format.name,
            lossy=changes_pictures(stream, first),
            intervals=_uneven(ticks, float(stream.time_base or 0)),
            pixel_aspect=1 / aspect if Turn.of(first).transposed else aspect,
        )


class _Damage(Exception):
    """What follows the pictures that could be read."""


def pictures(path: Path) -> Iterator[Picture]:
    """All pictures of a video in order. ValueError, after those that could be read, where it is damaged or cut short."""
    with _opened(path) as (container, stream):
        count, seconds, time = 0, 0.0, None
        try:
            for picture in _numbered(_images(container, stream), stream):
                count, seconds, time = picture.number + 1, picture.seconds, picture.image.time
                yield picture
            _check_whole(container, stream, count, time)
        except _Damage as damage:
            raise ValueError(
                f"{path}: found {count} frames that can be read (to {seconds:.2f} s), after which {damage}: the file is cut short or "
                "damaged; copy or record it again, remove it, or keep its begin by `cuts: {table: ...}` with a row whose end is "
                f"{count} or less"
            ) from None


def _images(container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
    """Up to the first damage: what a decoder makes up behind it is no recording."""
    try:
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise _Damage("the data ends or is damaged")
            for image in packet.decode():
                if image.is_corrupt:
                    raise _Damage("one is damaged")
                yield image
    except av.FFmpegError as error:
        raise _Damage(f"FFmpeg says {error.strerror!r}") from error


def _numbered(images: Iterator[av.VideoFrame], stream: VideoStream) -> Iterator[Picture]:
    turn, start = Turn(), 0.0
    for number, image in enumerate(images):
        seconds = number * _frame_seconds(stream) if image.time is None else image.time
        if number == 0:
            turn, start = Turn.of(image), seconds
        yield Picture(number, seconds - start, image, turn)


def _frame_seconds(stream: VideoStream) -> float:
    return 1 / float(stream.average_rate or USUAL_RATE)


def _check_whole(container: InputContainer, stream: VideoStream, count: int, time: float | None) -> None:
    """Whether the container says that there is more than ``count`` pictures, the last of which has this time in seconds."""
    listed = _num_frames(container, stream)
    if listed is not None and count < listed:
        raise _Damage(f"there are none, where the container lists {listed}")
    missed = 0 if time is None else _declared_seconds(stream) - time - 2 * _frame_seconds(stream)
    if missed > MISSED_SECONDS:
        raise _Damage(f"there are none, where the container says that {missed:.1f} s more follow")


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A file and its main stream of pictures, a cover not being one. ValueError where it is no video."""
    try:
        container = av.open(str(path))
    except (av.FFmpegError, OSError) as error:
        raise ValueError(f"{path}: {_why_not_opened(path, error)}") from error
    with container:
        stream = container.streams.best("video")
        if not isinstance(stream, VideoStream):
            kinds = ", ".join(stream.type for stream in container.streams) or "none"
            raise ValueError(f"{path}: found streams of {kinds}, expected one of video: remove the file")
        stream.thread_count = 1  # as many as a job has cores; a decoder holds back a picture for each
        yield container, stream


def _why_not_opened(path: Path, error: Exception) -> str:
    begin = b""
    if path.is_file():
        with path.open("rb") as file:
            begin = file.read(12)
    if begin[4:8] == b"ftyp":
        return (
            "found the begin of an mp4 and not its list of frames, so that 0 frames can be read, expected a whole file: the recording was "
            "stopped before it was finished, or the file was not copied to its end; copy or record it again, or remove it"
        )
    if path.is_file() and not begin:
        return "found an empty file, expected a video: copy it again or remove it"
    return f"found no video ({getattr(error, 'strerror', None) or error}), expected one: remove the file, or convert it"


def _first_picture(container: InputContainer, stream: VideoStream) -> tuple[av.VideoFrame | None, list[int]]:
    """And when the first pictures are shown, in ticks; none but those up to this one where the container lists them all."""
    first: av.VideoFrame | None = None
    ticks: list[int] = []
    try:
        for packet in container.demux(stream):
            if packet.pts is not None:
                ticks.append(packet.pts)
            if first is None:
                first = next(iter(packet.decode()), None)
            if first is not None and (_is_indexed(container) or len(ticks) >= PROBED_PACKETS):
                break
    except av.FFmpegError:
        pass  # what is damaged behind the first picture is said when it is decoded
    return first, sorted(ticks)[: -MOST_REORDERED if len(ticks) >= PROBED_PACKETS else None]


def _is_indexed(container: InputContainer) -> bool:
    return any(name in container.format.name.split(",") for name in INDEXED)


def _num_frames(container: InputContainer, stream: VideoStream) -> int | None:
    """Of a container that lists them all: those that are shown, as an edit may hide some, and that hold something."""
    entries = stream.index_entries
    if not _is_indexed(container) or stream.frames == 0:
        return None
    if len(entries) != stream.frames:  # an edit repeats or drops some, or an AVI has lost its list with its end
        return stream.frames if container.format.name == "avi" else None
    return sum(1 for entry in entries if entry.size > 0 and not entry.is_discard)


def _declared_seconds(stream: VideoStream) -> float:
    """When Matroska and WebM say that the pictures end, 0 where nothing is said."""
    parts = stream.metadata.get("DURATION", "0").split(":")
    try:
        return sum(float(part) * 60**place for place, part in enumerate(reversed(parts)))
    except ValueError:
        return 0.0


def _uneven(ticks: Sequence[int], tick_seconds: float) -> tuple[float, float] | None:
    """The shortest and the longest time between frames in seconds, None where they are alike but for rounding."""
    steps = sorted(after - before for before, after in pairwise(ticks))
    if len(steps) < 2:
        return None
    middle = steps[len(steps) // 2]
    allowed = max(EVEN_TICKS, EVEN_SHARE * middle)
    if steps[-1] - middle <= allowed and middle - steps[0] <= allowed:
        return None
    return steps[0] * tick_seconds, steps[-1] * tick_seconds


def changes_pictures(stream: VideoStream, first: av.VideoFrame) -> bool:
    """Whether the codec of a stream, of which ``first`` is the first picture, is lossy. H.264 need not be: x264 says so in the stream
    itself."""
    if not stream.codec.lossy:
        return False
    is_exact = re.search(rb"\brc=cqp\b.* qp=0\b", side_data(first, "SEI_UNREGISTERED")) is not None
    return not (is_exact and stream.profile == "High 4:4:4 Predictive")
