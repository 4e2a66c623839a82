"""Writes data sets of Minari by Minari itself."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import gymnasium
import minari
import numpy as np
from minari.data_collector.episode_buffer import EpisodeBuffer
from numpy.typing import NDArray

LENGTHS = (3, 5, 2)
"""Actions of the episodes."""
Box = gymnasium.spaces.Box
PICTURE = Box(0, 255, (64, 64, 3), np.uint8)


def pictures(episode: int, rows: int, shape: tuple[int, ...] = (64, 64, 3)) -> NDArray[np.uint8]:
    """A smooth picture, as JPEG takes them, that moves a pixel per row."""
    ramp = np.linspace(0, 200, int(np.prod(shape[:2]))).reshape(shape[:2])
    rolled = [np.roll(ramp, row + 10 * episode, axis=1) for row in range(rows)]
    return np.stack(
        [frame if len(shape) == 2 else np.repeat(frame[..., None], shape[2], 2) for frame in rolled]
    ).astype(np.uint8)


def numbers(episode: int, rows: int, entries: int) -> NDArray[np.float32]:
    return np.random.default_rng(episode).uniform(-1, 1, (rows, entries)).astype(np.float32)


def buffers(observations: Any, actions: Any) -> list[EpisodeBuffer]:
    """Episodes whose observations and actions are functions of the episode and of the number of rows; the second one terminates."""
    return [
        EpisodeBuffer(
            observations=observations(episode, length + 1),
            actions=actions(episode, length),
            rewards=[float(row) for row in range(length)],
            terminations=[episode == 1 and row == length - 1 for row in range(length)],
            truncations=[episode != 1 and row == length - 1 for row in range(length)],
            infos={},
        )
        for episode, length in enumerate(LENGTHS)
    ]


def write(
    root: Path,
    episodes: list[EpisodeBuffer],
    observation_space: Any,
    action_space: Any,
    *,
    data_format: str = "hdf5",
    jpeg_encoding: bool = True,
    name: str = "test/toy-v0",
) -> Path:
    """The folder of a data set under ``root``, which ``MINARI_DATASETS_PATH`` names."""
    with warnings.catch_warnings(action="ignore"):  # of a data set that no environment belongs to
        minari.create_dataset_from_buffers(
            name,
            episodes,
            observation_space=observation_space,
            action_space=action_space,
            data_format=data_format,
            jpeg_encoding=jpeg_encoding,
            author="a",
            author_email="a@example.org",
            code_permalink="https://example.org/code",
            algorithm_name="a test",
        )
    return root / name
