"""Frames a second and peak memory of converting LAPO's chunks of 32,768 frames to an episode store, on one core.

Claims: one chunk takes less than 1.5 GB and goes at 20,000 frames a second or more; ten take no more memory than one. The
chunks hold random play of the real simulator, packed as numpy does. Each import is a process of its own, pinned to one
core; rates count its processor time, which other programs on the machine stretch less than the clock, from the first byte of
the archive to the sealed store. Prints one JSON object.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from lamflow.envs.presets import preset
from lamflow.envs.procgen import ProcgenVectorEnvironment
from lamflow.envs.procgen_presets import PROCGEN_GAMES

CHUNK_ROWS = 32_768
NUM_ENVS = 32
COUNTS = (1, 10)
IMPORT = """
import json, re, sys, time
from lamflow.data.lapo_chunks import LapoChunk
from lamflow.stages.import_lapo import import_lapo
import zarr, numcodecs, google_crc32c
started, busy = time.perf_counter(), time.process_time()
import_lapo(**json.loads(sys.argv[1]))
print(json.dumps({
    "wall_seconds": time.perf_counter() - started,
    "processor_seconds": time.process_time() - busy,
    "peak_megabytes": int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024 / 1e6,
}))
"""


def packed_chunk(env: str) -> bytes:
    """An npz of ``CHUNK_ROWS`` steps, one environment after another, `done` where an episode ends or an environment does."""
    environment = ProcgenVectorEnvironment(preset(env), NUM_ENVS)
    observation = environment.reset(np.arange(NUM_ENVS))
    generator = np.random.default_rng(0)
    steps = []
    for _ in range(CHUNK_ROWS // NUM_ENVS):
        actions = generator.integers(15, size=NUM_ENVS)
        result = environment.step(actions)
        steps.append((observation.parts["frames"], actions, result.terminated | result.truncated, result.rewards))
        observation = result.observation
    obs, ta, done, rewards = (np.stack(values, axis=1) for values in zip(*steps, strict=True))
    done[:, -1] = True
    stream = io.BytesIO()
    flat = {"obs": obs, "ta": ta, "done": done, "rewards": rewards, "ep_returns": rewards, "values": rewards}
    np.savez_compressed(stream, **{key: value.reshape(CHUNK_ROWS, *value.shape[2:]) for key, value in flat.items()})
    return stream.getvalue()


def measured(folder: Path, env: str, archive: Path, num_chunks: int) -> dict[str, float]:
    settings = {"urls": [], "licence": "none", "version": "benchmark", "train_chunks": num_chunks}
    arguments = {
        "env": env,
        "split": "train",
        "settings": settings,
        "archive": str(archive),
        "output": str(folder / f"{num_chunks}.zarr"),
    }
    core = {min(os.sched_getaffinity(0))}
    result = subprocess.run(
        [sys.executable, "-c", IMPORT, json.dumps(arguments)],
        stdout=subprocess.PIPE,
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, core),
    )
    found = json.loads(result.stdout)
    frames = num_chunks * CHUNK_ROWS
    return {
        f"frames_per_processor_second_{num_chunks}": round(frames / found["processor_seconds"]),
        f"frames_per_second_{num_chunks}": round(frames / found["wall_seconds"]),
        f"peak_megabytes_{num_chunks}": round(found["peak_megabytes"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--game", default="coinrun", choices=list(PROCGEN_GAMES), help="one of those that compress worst"
    )
    env = f"procgen-{parser.parse_args().game}"
    chunk = packed_chunk(env)
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for count in COUNTS:
            archive = folder / f"{count}.zip"
            with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
                for number in range(count + 1):  # one more, for the validation split
                    opened.writestr(f"expert_data/{env.removeprefix('procgen-')}/train/{number}.npz", chunk)
            found |= measured(folder, env, archive, count)
    print(json.dumps({"benchmark": "convert_lapo", "env": env, "chunk_megabytes": round(len(chunk) / 1e6, 1), **found}))


if __name__ == "__main__":
    main()
