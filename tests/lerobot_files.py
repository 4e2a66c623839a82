"""Writes LeRobot's layouts, v3.0 and v2.1, with pyarrow and PyAV, after the reference: none of the reader's code is used.

As LeRobot does, each episode is encoded for itself; in v3.0 its packets are then appended to a file with those before it.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

os.environ.setdefault("SVT_LOG", "1")  # errors alone
FPS = 10
CODECS: dict[str, tuple[str, dict[str, str]]] = {
    "libsvtav1": ("yuv420p", {"g": "2", "crf": "30", "preset": "12"}),  # LeRobot's own default
    "libx264": ("yuv420p", {"g": "10", "crf": "18"}),
    "libx264rgb": ("rgb24", {"qp": "0", "g": "10"}),
}
TOP, WRIST = "observation.images.top", "observation.images.wrist"
LENGTHS = (7, 12, 5)
TASKS = ("lift the cube", "lift the cube", "push the cube")


@dataclass(frozen=True)
class Recording:
    """An episode of n rows: frames uint8 [n, 64, 64, 3] by camera, state float32 [n, 3], actions float32 [n, 2] or int64 [n]; ``rewards``
    float32 [n], None: an eighth of the row's place among all."""

    cameras: dict[str, NDArray[np.uint8]]
    state: NDArray[np.float32]
    actions: NDArray[Any]
    task: str
    success: bool
    rewards: NDArray[np.float32] | None = None


def recordings(lengths: Sequence[int] = LENGTHS, side: int = 64) -> list[Recording]:
    """Episodes with a square that moves over a slope of colours; each frame differs from all others."""
    generator = np.random.default_rng(0)
    found = []
    for episode, rows in enumerate(lengths):
        frames = {
            camera: np.stack([picture(side, 5 * row + shift, 40 * episode) for row in range(rows)])
            for camera, shift in ((TOP, 0), (WRIST, 3))
        }
        state, actions = (generator.normal(size=(rows, width)).astype(np.float32) for width in (3, 2))
        found.append(Recording(frames, state, actions, TASKS[episode % 3], success=episode != 1))
    return found


def picture(side: int, place: int, shade: int) -> NDArray[np.uint8]:
    rows, columns = np.mgrid[:side, :side]
    frame = np.stack([rows * 2, columns * 2, np.full_like(rows, shade)], axis=-1).astype(np.uint8)
    begin = place % (side - 12)
    frame[20:32, begin : begin + 12] = (230, 200, 40)
    return frame


def encode(frames: NDArray[np.uint8], codec: str) -> bytes:
    """An mp4 file."""
    pixels, options = CODECS[codec]
    held = io.BytesIO()
    with av.open(held, "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=FPS, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], pixels
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return held.getvalue()


def concatenate(path: Path, videos: Sequence[bytes], lengths: Sequence[int]) -> None:
    """The packets of some mp4 files one after the other in one, as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        stream, begin = None, 0
        for video, rows in zip(videos, lengths, strict=True):
            with av.open(io.BytesIO(video)) as part:
                source = part.streams.video[0]
                stream = stream or out.add_stream_from_template(source, opaque=True)
                for packet in part.demux(source):
                    if packet.dts is None:
                        continue
                    offset = round(begin / FPS / packet.time_base)
                    packet.pts, packet.dts, packet.stream = packet.pts + offset, packet.dts + offset, stream
                    out.mux(packet)
            begin += rows


def features(episodes: Sequence[Recording], kind: str) -> dict[str, Any]:
    numbers = {
        name: {"dtype": "int64", "shape": [1], "names": None}
        for name in ("frame_index", "episode_index", "index", "task_index")
    }
    actions = episodes[0].actions
    continuous = actions.ndim == 2
    return {
        "observation.state": {"dtype": "float32", "shape": [3], "names": ["x", "y", "z"]},
        "action": {
            "dtype": str(actions.dtype), "shape": [actions.shape[1] if continuous else 1],
            "names": {"motors": ["shoulder", "elbow"]} if continuous else None,
        },
        **{
            camera: {"dtype": kind, "shape": [*frames.shape[1:3], 3], "names": ["height", "width", "channels"], "info": None}
            for camera, frames in episodes[0].cameras.items()
        },
        "next.reward": {"dtype": "float32", "shape": [1], "names": None},
        "next.success": {"dtype": "bool", "shape": [1], "names": None},
        "timestamp": {"dtype": "float32", "shape": [1], "names": None},
        **numbers,
    }  # fmt: skip


def rows_of(episodes: Sequence[Recording], images: bool) -> pa.Table:
    """All rows, as v3.0 has them in one file."""
    lengths = [len(episode.actions) for episode in episodes]
    frame = np.concatenate([np.arange(rows) for rows in lengths])
    actions, states = (np.concatenate([getattr(e, name) for e in episodes]) for name in ("actions", "state"))
    last = np.concatenate([np.arange(rows) == rows - 1 for rows in lengths])
    columns: dict[str, Any] = {
        "observation.state": pa.FixedSizeListArray.from_arrays(states.reshape(-1), 3),
        "action": pa.FixedSizeListArray.from_arrays(actions.reshape(-1), 2) if actions.ndim == 2 else actions,
        "next.reward": rewards_of(episodes, lengths),
        "next.success": last & np.repeat([episode.success for episode in episodes], lengths),
        "timestamp": (frame / FPS).astype(np.float32),
        "frame_index": frame,
        "episode_index": np.repeat(np.arange(len(lengths)), lengths),
        "index": np.arange(len(frame)),
        "task_index": np.repeat([TASKS.index(episode.task) // 2 for episode in episodes], lengths),
    }
    if images:
        for camera in episodes[0].cameras:
            columns[camera] = [{"bytes": png(frame), "path": None} for e in episodes for frame in e.cameras[camera]]
    return pa.table(columns)


def rewards_of(episodes: Sequence[Recording], lengths: Sequence[int]) -> NDArray[np.float32]:
    counted = np.split((np.arange(sum(lengths)) / 8).astype(np.float32), np.cumsum(lengths)[:-1])
    given = [episode.rewards for episode in episodes]
    return np.concatenate([own if own is not None else other for own, other in zip(given, counted, strict=True)])


def png(frame: NDArray[np.uint8]) -> bytes:
    held = io.BytesIO()
    Image.fromarray(frame).save(held, "PNG")
    return held.getvalue()


def stats(episodes: Sequence[Recording]) -> dict[str, Any]:
    values = np.concatenate([episode.actions for episode in episodes]).reshape(
        sum(len(e.actions) for e in episodes), -1
    )
    return {
        "action": {
            "min": values.min(0).tolist(),
            "max": values.max(0).tolist(),
            "mean": values.mean(0).tolist(),
            "count": [len(values)],
        }
    }


def write_info(root: Path, version: str, episodes: Sequence[Recording], kind: str, paths: dict[str, Any]) -> None:
    rows = sum(len(episode.actions) for episode in episodes)
    info = {
        "codebase_version": version, "robot_type": "so101", "total_episodes": len(episodes), "total_frames": rows, "chunks_size": 1000,
        "fps": FPS, "splits": {"train": f"0:{len(episodes)}"}, **paths, "features": features(episodes, kind),
    }  # fmt: skip
    root.joinpath("meta").mkdir(parents=True)
    root.joinpath("meta", "info.json").write_text(json.dumps(info, indent=4))
    root.joinpath("README.md").write_text("---\nlicense: apache-2.0\ntags:\n- LeRobot\n---\nMade for a test.\n")


def write_v3(root: Path, episodes: Sequence[Recording], codec: str | None = "libsvtav1") -> Path:
    """v3.0: the camera ``TOP`` has all episodes in one mp4, ``WRIST`` the first in one and the others in another. Without a codec the
    pictures are PNG files in the parquet file."""
    lengths = [len(episode.actions) for episode in episodes]
    video = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
    data = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
    write_info(
        root,
        "v3.0",
        episodes,
        "video" if codec else "image",
        {"data_path": data, "video_path": video if codec else None},
    )
    root.joinpath("meta", "stats.json").write_text(json.dumps(stats(episodes)))
    ends = np.cumsum(lengths)
    listed: dict[str, Any] = {
        "episode_index": list(range(len(episodes))), "tasks": [[episode.task] for episode in episodes], "length": lengths,
        "data/chunk_index": [0] * len(episodes), "data/file_index": [0] * len(episodes),
        "dataset_from_index": (ends - lengths).tolist(), "dataset_to_index": ends.tolist(),
        "stats/action/count": [[rows] for rows in lengths],
    }  # fmt: skip
    files_of = {TOP: [range(len(episodes))], WRIST: [range(1), range(1, len(episodes))]}
    for camera in episodes[0].cameras if codec else ():
        for number, inside in enumerate(files_of[camera]):
            parts = [lengths[index] for index in inside]
            concatenate(root / video.format(video_key=camera, chunk_index=0, file_index=number),
                        [encode(episodes[index].cameras[camera], str(codec)) for index in inside], parts)  # fmt: skip
            stops = np.cumsum(parts) / FPS
            for key, values in {
                "chunk_index": [0] * len(parts), "file_index": [number] * len(parts),
                "from_timestamp": [0.0, *stops[:-1].tolist()], "to_timestamp": stops.tolist(),
            }.items():  # fmt: skip
                listed.setdefault(f"videos/{camera}/{key}", []).extend(values)
    write_parquet(root / "meta/episodes/chunk-000/file-000.parquet", pa.table(listed))
    write_parquet(root / "data/chunk-000/file-000.parquet", rows_of(episodes, images=codec is None))
    tasks = list(dict.fromkeys(episode.task for episode in episodes))
    write_parquet(root / "meta/tasks.parquet", pa.table({"task_index": range(len(tasks)), "task": tasks}))
    return root


def write_v2(root: Path, episodes: Sequence[Recording], codec: str | None, version: str = "v2.1") -> Path:
    """v2.1, v2.0: a parquet and an mp4 per camera for each episode; without a codec as in ``write_v3``."""
    video = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
    data = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
    write_info(root, version, episodes, "video" if codec else "image", {"data_path": data, "video_path": video})
    table, lines = rows_of(episodes, images=codec is None), []
    for index, episode in enumerate(episodes):
        own = table.filter(pa.compute.equal(table["episode_index"], index))
        write_parquet(root / data.format(episode_chunk=0, episode_index=index), own)
        for camera, frames in episode.cameras.items() if codec else ():
            path = root / video.format(episode_chunk=0, video_key=camera, episode_index=index)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode(frames, str(codec)))
        lines.append(json.dumps({"episode_index": index, "tasks": [episode.task], "length": len(episode.actions)}))
    root.joinpath("meta", "episodes.jsonl").write_text("\n".join(lines) + "\n")
    return root


def write_parquet(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="snappy")


def change_info(root: Path, **changes: Any) -> None:
    path = root / "meta" / "info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_column(path: Path, name: str, values: Any) -> None:
    """Puts another column into a parquet file, or takes it out."""
    table = pq.read_table(path)
    place = table.schema.get_field_index(name)
    write_parquet(
        path, table.remove_column(place) if values is None else table.set_column(place, name, pa.array(values))
    )
