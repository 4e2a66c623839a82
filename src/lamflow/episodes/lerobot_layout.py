"""What a LeRobot data set says about itself in ``meta/``: its columns, and in which files the rows and pictures of an episode lie.

Version v3.0 keeps many episodes in a parquet file and in an mp4 file, and lists them in ``meta/episodes/*/*.parquet``; v2.1 and v2.0 keep
one in each, and list them in ``meta/episodes.jsonl``. What is listed is checked here as far as it goes without reading data.
"""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

VERSIONS = ("v2.0", "v2.1", "v3.0")
CAMERA_KINDS = ("video", "image")
_BUFFER = 2**20
"""Bytes of a column that are read at a time. pyarrow would else hold all of a file, which may be gigabytes of images."""
_DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
_OLD_DATA_PATH = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
_OLD_VIDEO_PATH = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"


@dataclass(frozen=True)
class VideoRange:
    """The part of a video file that an episode's pictures are: those from ``start`` up to ``stop``, in seconds."""

    path: Path
    start: float = -math.inf
    stop: float = math.inf


@dataclass(frozen=True)
class LeRobotEpisode:
    """``rows`` as listed; ``data``: the file in which they lie, ``alone`` where no other episode's do; ``listed``: all that is listed."""

    index: int
    rows: int
    tasks: tuple[str, ...]
    data: Path
    alone: bool
    listed: Mapping[str, Any] = field(repr=False)

    @property
    def name(self) -> str:
        """As LeRobot calls the files of an episode."""
        return f"episode_{self.index:06d}"


@dataclass(frozen=True)
class Layout:
    """A data set's ``info`` and ``episodes``, by index."""

    root: Path
    info: Mapping[str, Any]
    episodes: tuple[LeRobotEpisode, ...]

    @property
    def version(self) -> str:
        """One of ``VERSIONS``."""
        return str(self.info["codebase_version"])

    @property
    def features(self) -> Mapping[str, Mapping[str, Any]]:
        """The columns by name, each with its dtype, shape and names."""
        return dict(self.info["features"])

    @property
    def frames_per_second(self) -> float:
        """Of all cameras and rows."""
        return float(self.info["fps"])

    @property
    def cameras(self) -> tuple[str, ...]:
        """Keys of the columns with pictures that are no depth maps."""
        found = [key for key, feature in self.features.items() if feature.get("dtype") in CAMERA_KINDS]
        return tuple(key for key in found if not _is_depth(self.features[key]))

    def camera(self, wanted: str | None) -> str:
        """The key of a camera, given by its key or its last word, or of the first one. ValueError where there is no such camera."""
        cameras = self.cameras
        if not cameras:
            raise ValueError(
                f"{self.root}/meta/info.json: found no camera among the features {', '.join(self.features)}, expected one whose dtype is "
                "video or image"
            )
        if wanted is None:
            return cameras[0]
        matching = [key for key in cameras if key == wanted] or [
            key for key in cameras if key.endswith((f".{wanted}", f"/{wanted}"))
        ]
        if len(matching) != 1:
            found = f"{len(matching)} cameras" if matching else "no camera"
            raise ValueError(f"{self.root}: found {found} {wanted!r}, expected one of {', '.join(cameras)}")
        return matching[0]

    def video_of(self, episode: LeRobotEpisode, camera: str) -> VideoRange:
        """Where a camera's pictures of an episode lie. ValueError where the list of episodes does not say it."""
        if episode.alone:
            return VideoRange(self.root / _old_path(self.info, "video_path", _OLD_VIDEO_PATH, episode.index, camera))
        keys = ("chunk_index", "file_index", "from_timestamp", "to_timestamp")
        chunk, file, start, stop = (episode.listed.get(f"videos/{camera}/{key}") for key in keys)
        if chunk is None or file is None or start is None or stop is None or not stop > start >= 0:
            raise ValueError(
                f"{self.root}/meta/episodes: episode {episode.index}: found no video of the camera {camera}, or an end that does not "
                f"follow its begin: chunk {chunk}, file {file}, from {start} to {stop} seconds"
            )
        template = str(self.info.get("video_path") or _VIDEO_PATH)
        path = template.format(video_key=camera, chunk_index=int(chunk), file_index=int(file))
        return VideoRange(self.root / path, float(start), float(stop))


def read_layout(root: Path) -> Layout:
    """ValueError where it is no LeRobot data set of a known version, or lists episodes whose files are missing."""
    info = _read_info(root)
    listed = _listed_v3(root) if info["codebase_version"] == "v3.0" else _listed_v2(root)
    episodes = tuple(sorted((_episode(root, info, row) for row in listed), key=lambda episode: episode.index))
    if not episodes:
        raise ValueError(f"{root}/meta: found no episode, expected at least one")
    for before, after in pairwise(episodes):
        if before.index == after.index:
            raise ValueError(
                f"{root}/meta: found episode {after.index} listed twice, expected once: data sets that were put together need new numbers, "
                "which `lerobot-edit-dataset` gives them"
            )
    _check_there(episodes)
    return Layout(root, info, episodes)


def read_licence(root: Path) -> str:
    """What the card of the data set (``README.md``) says, or ``unknown``."""
    card = root / "README.md"
    found = (
        re.search(r"^licen[sc]e: *([^\s#]+)", card.read_text(encoding="utf-8", errors="replace"), re.M)
        if card.is_file()
        else None
    )
    return found[1].strip("'\"") if found else "unknown"


def open_parquet(path: Path) -> pq.ParquetFile:
    """ValueError where it is missing or not whole; it names what LeRobot's writer leaves when it was not closed."""
    try:
        return pq.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False)
    except FileNotFoundError:
        raise ValueError(
            f"{path}: found no such file, expected a parquet file of the data set: copy it again"
        ) from None
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"{path}: found no footer at the end of the parquet file, expected one: the recording was not closed (`dataset.finalize()` of "
            f"LeRobot writes the footer), or the copy was cut: record or copy it again. pyarrow says: {error}"
        ) from error


def video_notes(layout: Layout, camera: str) -> Iterator[str]:
    """What is strange about the places of a camera's episodes in its video files. ValueError where two share pictures, or a file is
    missing."""
    ranges: dict[Path, list[tuple[VideoRange, LeRobotEpisode]]] = defaultdict(list)
    for episode in layout.episodes:
        found = layout.video_of(episode, camera)
        ranges[found.path].append((found, episode))
    for path, inside in ranges.items():
        if not path.is_file():
            raise ValueError(
                f"{path}: episode {inside[0][1].index}: found no such file, expected the video of the camera {camera}: copy it again"
            )
        inside.sort(key=lambda pair: pair[0].start)
        yield from _gaps(path, inside, 1 / layout.frames_per_second)


def _gaps(path: Path, inside: Sequence[tuple[VideoRange, LeRobotEpisode]], frame: float) -> Iterator[str]:
    for (before, first), (after, second) in pairwise(inside):
        if after.start < before.stop - frame / 2:
            raise ValueError(
                f"{path}: episode {second.index}: found that it begins at {after.start:g} s, expected {before.stop:g} s or later, where "
                f"episode {first.index} ends: the offsets in meta/episodes are wrong, as in sets that were put together; put them together "
                "again with `lerobot-edit-dataset`"
            )
        if after.start > before.stop + frame / 2:
            yield (
                f"{path}: no episode has the pictures from {before.stop:g} to {after.start:g} s, between episodes {first.index} and "
                f"{second.index}."
            )


def _read_info(root: Path) -> dict[str, Any]:
    path = root / "meta" / "info.json"
    if not path.is_file():
        raise ValueError(
            f"{path}: found no such file, expected a LeRobot data set: `path` is the folder in which meta/ lies"
        )
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: could not be read as JSON: {error}: copy it again") from error
    version = info.get("codebase_version") if isinstance(info, dict) else None
    if version not in VERSIONS:
        raise ValueError(
            f"{path}: found the codebase_version {version!r}, expected one of {', '.join(VERSIONS)}: convert the data set with a "
            "release of lerobot that reads it (python -m lerobot.scripts.convert_dataset_v21_to_v30 makes v3.0 of v2.1)"
        )
    _check_info(path, info)
    return dict(info)


def _check_info(path: Path, info: Mapping[str, Any]) -> None:
    features = info.get("features")
    if not isinstance(features, dict) or not all(isinstance(feature, dict) for feature in features.values()):
        raise ValueError(f"{path}: found no features, expected a mapping of columns to their dtype and shape")
    if not isinstance(info.get("fps"), int | float) or not info["fps"] > 0:
        raise ValueError(f"{path}: found fps {info.get('fps')!r}, expected the frames per second, a number above 0")


def _listed_v3(root: Path) -> Iterator[dict[str, Any]]:
    """What ``meta/episodes`` lists, without the statistics, which are most of it."""
    paths = sorted((root / "meta" / "episodes").glob("*/*.parquet"))
    if not paths:
        raise ValueError(
            f"{root}/meta/episodes: found no parquet file, expected the list of episodes: a recording that was not closed with "
            "`dataset.finalize()` may lack it"
        )
    for path in paths:
        file = open_parquet(path)
        names = [name for name in file.schema_arrow.names if not name.startswith("stats/")]
        yield from file.read(columns=names).to_pylist()


def _listed_v2(root: Path) -> Iterator[dict[str, Any]]:
    path = root / "meta" / "episodes.jsonl"
    if not path.is_file():
        raise ValueError(f"{path}: found no such file, expected the list of episodes: copy it again")
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line) if line.strip() else None
        except ValueError as error:
            raise ValueError(f"{path}: line {number}: could not be read as JSON: {error}") from error
        if row is not None:
            yield row


def _episode(root: Path, info: Mapping[str, Any], row: Mapping[str, Any]) -> LeRobotEpisode:
    new = info["codebase_version"] == "v3.0"
    wanted = ["episode_index", "length", *(["data/chunk_index", "data/file_index"] if new else [])]
    missing = [key for key in wanted if not isinstance(row.get(key), int)]
    if missing:
        raise ValueError(
            f"{root}/meta: episode {row.get('episode_index')}: found no whole number under {', '.join(missing)} in the list of episodes"
        )
    index = row["episode_index"]
    if new:
        template = str(info.get("data_path") or _DATA_PATH)
        data = template.format(chunk_index=row["data/chunk_index"], file_index=row["data/file_index"])
    else:
        data = _old_path(info, "data_path", _OLD_DATA_PATH, index)
    tasks = tuple(map(str, row.get("tasks") or ()))
    return LeRobotEpisode(index, row["length"], tasks, root / data, alone=not new, listed=row)


def _old_path(info: Mapping[str, Any], key: str, default: str, index: int, camera: str = "") -> str:
    """The path of an episode's file in v2.1 and v2.0."""
    chunk = index // int(info.get("chunks_size") or 1000)
    return str(info.get(key) or default).format(episode_chunk=chunk, episode_index=index, video_key=camera)


def _check_there(episodes: Sequence[LeRobotEpisode]) -> None:
    there: dict[Path, bool] = {}
    for episode in episodes:
        if not there.setdefault(episode.data, episode.data.is_file()):
            raise ValueError(
                f"{episode.data}: episode {episode.index}: found no such file, expected its {episode.rows} rows: copy it again"
            )


def _is_depth(feature: Mapping[str, Any]) -> bool:
    facts = {**(feature.get("video_info") or {}), **(feature.get("info") or {})}
    return bool(facts.get("is_depth_map") or facts.get("video.is_depth_map"))
