"""Frames per second and peak memory of reading 480p AV1 video as episodes of 64 x 64 frames, on one core, into nothing.

Claims: an hour takes less than 1.5 GB, and at most 1.2 times as much as a tenth of it does. The video is ten seconds at 30 frames per
second, encoded as LeRobot does (SVT-AV1, a key frame every second one) and repeated without encoding it again; it is one episode. Each
reading is a process of its own, pinned to one core; rates count its processor time too, which other programs on the machine stretch less
than the clock. Prints one JSON object. The argument is the length in minutes, 60 by default.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import av
import numpy as np
from bench.command import arguments
from numpy.typing import NDArray

RATE, SECONDS = 30, 10
HEIGHT, WIDTH, SPRITE = 480, 640, 48
ENCODING = {"preset": "12", "crf": "30", "g": "2"}
SHORTER = 10
os.environ.setdefault("SVT_LOG", "1")
"""SVT-AV1 says only what goes wrong."""
TARGETS = {"peak_megabytes": 1500, "growth": 1.2}
READ = """
import json, re, sys, time
from lamflow.episodes.fit import FrameFit
from lamflow.episodes.video_settings import VideoSettings
source = VideoSettings(path=sys.argv[1]).build(fit=FrameFit(64, 64))
started, busy = time.perf_counter(), time.process_time()
source.describe()
frames = sum(len(piece.observations["frames"]) for episode in source.episodes() for piece in episode.pieces)
print(json.dumps({
    "frames": frames,
    "wall_seconds": time.perf_counter() - started,
    "processor_seconds": time.process_time() - busy,
    "peak_megabytes": int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024 / 1e6,
}))
"""


def pictures() -> NDArray[np.uint8]:
    """uint8 [n, height, width, 3]: squares fly over a smooth ground of coloured hills."""
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 256, (HEIGHT // 40, WIDTH // 40, 3)).astype(np.uint8)
    hills = av.VideoFrame.from_ndarray(coarse, format="rgb24").reformat(WIDTH, HEIGHT, interpolation="BICUBIC")
    found = np.repeat(hills.to_ndarray(format="rgb24")[None], RATE * SECONDS, axis=0)
    turns = 2 * np.pi * np.arange(len(found)) / len(found)
    for sprite in range(12):
        rows = ((0.5 + 0.5 * np.sin(turns * (1 + sprite % 4) + sprite)) * (HEIGHT - SPRITE)).astype(int)
        columns = ((0.5 + 0.5 * np.cos(turns * (1 + sprite % 3) + sprite)) * (WIDTH - SPRITE)).astype(int)
        colour = generator.integers(0, 256, 3)
        for frame, row, column in zip(found, rows, columns, strict=True):
            frame[row : row + SPRITE, column : column + SPRITE] = colour
    return found


def write_short(path: Path) -> None:
    with av.open(str(path), mode="w") as opened:
        stream = opened.add_stream("libsvtav1", rate=RATE, options=ENCODING)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for picture in pictures():
            opened.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        opened.mux(stream.encode())


def write_repeated(path: Path, short: Path, frames: int) -> None:
    """The packets of ``short`` over and over, to ``frames`` of them."""
    with av.open(str(path), mode="w") as opened:
        stream, written = None, 0
        while written < frames:
            with av.open(str(short)) as given:
                source = given.streams.video[0]
                stream = stream or opened.add_stream_from_template(source, opaque=True)
                ticks = round(written / RATE / source.time_base)
                for packet in given.demux(source):
                    if packet.dts is not None and written < frames:
                        packet.pts, packet.dts, packet.stream = packet.pts + ticks, packet.dts + ticks, stream
                        opened.mux(packet)
                        written += 1


def measured(path: Path) -> dict[str, float]:
    core = {min(os.sched_getaffinity(0))}
    result = subprocess.run(
        [sys.executable, "-c", READ, str(path)],
        stdout=subprocess.PIPE,
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, core),
    )
    found: dict[str, float] = json.loads(result.stdout)
    return found


def main(given: str = "60") -> None:
    minutes = float(given)
    frames = round(minutes * 60 * RATE)
    with tempfile.TemporaryDirectory() as name:
        short, tenth, long = (Path(name) / f"{part}.mp4" for part in ("short", "tenth", "long"))
        write_short(short)
        write_repeated(tenth, short, frames // SHORTER)
        write_repeated(long, short, frames)
        megabytes = long.stat().st_size / 1e6
        peak_of_a_tenth = measured(tenth)["peak_megabytes"]
        found = measured(long)
    assert found["frames"] == frames
    print(
        json.dumps(
            {
                "benchmark": "video_import",
                "targets": TARGETS,
                "minutes": minutes,
                "frames": frames,
                "video_megabytes": round(megabytes, 1),
                "frames_per_second": round(frames / found["wall_seconds"]),
                "frames_per_processor_second": round(frames / found["processor_seconds"]),
                "peak_megabytes": round(found["peak_megabytes"]),
                "growth": round(found["peak_megabytes"] / peak_of_a_tenth, 2),
            }
        )
    )


if __name__ == "__main__":
    main(*arguments(__doc__, "minutes"))
