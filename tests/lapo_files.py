"""Writes archives in the form of LAPO's published data, with frames of the real simulator."""

from __future__ import annotations

import io
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamflow.envs.presets import preset
from lamflow.envs.procgen import ProcgenVectorEnvironment

Chunk = dict[str, NDArray[Any]]
TRAIN_ROWS, TEST_ROWS = 256, 48


@cache
def played(num_rows: int, level: int = 0, game: str = "leaper") -> Chunk:
    """``num_rows`` steps of random play on successive levels: the arrays of a chunk, ``done`` on the last row of an episode."""
    environment = ProcgenVectorEnvironment(preset(f"procgen-{game}"), 1, iter(range(level + 1, level + 10_000)))
    observation = environment.reset(np.array([level]))
    generator = np.random.default_rng(level)
    frames, actions, rewards, done = [], [], [], []
    for _ in range(num_rows):
        frames.append(observation.parts["frames"][0])
        actions.append(generator.integers(15))
        result = environment.step(np.array(actions[-1:]))
        observation = result.observation
        rewards.append(result.rewards[0])
        done.append(bool((result.terminated | result.truncated)[0]))
    environment.close()
    zeros = np.zeros(num_rows, np.float32)
    return {
        "obs": np.stack(frames),
        "ta": np.array(actions, np.int64),
        "done": np.array(done, np.bool_),
        "rewards": np.array(rewards, np.float32),
        "ep_returns": zeros,
        "values": zeros,
        "logprobs": zeros,
    }


def write_zip(path: Path, chunks: dict[str, Chunk], *, prefix: str = "expert_data/leaper/") -> Path:
    """A zip of npz files, by their names below ``prefix`` without the ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        packed: dict[int, bytes] = {}
        for name, chunk in chunks.items():
            if id(chunk) not in packed:
                stream = io.BytesIO()
                np.savez_compressed(stream, **chunk)
                packed[id(chunk)] = stream.getvalue()
            archive.writestr(f"{prefix}{name}.npz", packed[id(chunk)])
    return path


def game_chunks() -> dict[str, Chunk]:
    """Three chunks of train/, numbered so that their order as text is another, and one of test/."""
    train = {f"train/{number}": played(TRAIN_ROWS, 100 * number) for number in (8, 10, 9)}
    return {**train, "test/0": played(TEST_ROWS, 7)}


SETTINGS: dict[str, Any] = {
    "urls": ["https://example.org/leaper.zip"],
    "licence": "a test",
    "version": "1",
    "return_expert": 7.4,
    "return_random": 2.5,
    "train_chunk_rows": TRAIN_ROWS,
    "test_chunk_rows": TEST_ROWS,
}
