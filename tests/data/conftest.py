"""Small stores of random episodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lamflow.data.latents import LatentWriter
from lamflow.data.store import EpisodeStore, EpisodeWriter
from lamflow.envs.interface import Episode
from lamflow.envs.presets import preset
from lamflow.envs.spec import EnvironmentSpec
from lamflow.spaces import Box, Categories, Discrete, Part, Pixels, Vector

ATTRIBUTES = {"source": "random test episodes", "licence": "MIT", "return_expert": 0.9}


ARM = EnvironmentSpec(
    name="arm",
    family="made-up",
    observation={"frames": Pixels((32, 32, 3)), "pose": Vector((2,))},
    action=Box((-1, 0), (1, 0.5)),
    max_steps=9,
)
"""Pictures and numbers, and actions of two entries."""


def random_part(part: Part, rows: int, generator: np.random.Generator) -> NDArray[Any]:
    """[rows, ...]"""
    if isinstance(part, Vector):
        return generator.normal(size=(rows, *part.shape)).astype(part.dtype)
    sizes = part.sizes if isinstance(part, Categories) else 256
    return generator.integers(0, sizes, (rows, *part.shape)).astype(part.dtype)


def random_actions(spec: EnvironmentSpec, length: int, generator: np.random.Generator) -> NDArray[Any]:
    """int64 [length], or float32 [length, A]"""
    if isinstance(spec.action, Discrete):
        return generator.integers(0, spec.action.count, length)
    return generator.uniform(spec.action.low, spec.action.high, (length, *spec.action.shape)).astype(np.float32)


def random_episode(spec: EnvironmentSpec, length: int, seed: int, *, final: bool = True) -> Episode:
    """An episode of ``length`` random actions, reward 1 at its end; ``final``: with its final observation."""
    generator = np.random.default_rng(seed)
    rows = length + final
    return Episode(
        observations={name: random_part(part, rows, generator) for name, part in spec.observation.items()},
        actions=random_actions(spec, length, generator),
        rewards=np.eye(1, length, length - 1, dtype=np.float32)[0],
        terminated=seed % 2 == 0,
        truncated=seed % 2 == 1,
        level_id=100 + seed,
    )


@pytest.fixture
def write_episodes() -> Callable[..., list[Episode]]:
    """Writes episodes of the given lengths and returns them."""

    def write(
        path: Path,
        lengths: Sequence[int] = (3, 1, 5),
        env: str | EnvironmentSpec = "xland-doorkey-5x5",
        *,
        final: bool = True,
        seed: int = 0,
    ) -> list[Episode]:
        spec = preset(env) if isinstance(env, str) else env
        episodes = [random_episode(spec, length, seed + i, final=final) for i, length in enumerate(lengths)]
        attributes = {**ATTRIBUTES, "final_observations": final}
        with EpisodeWriter(path, spec=spec, split="train", attributes=attributes) as writer:
            for episode in episodes:
                writer.append(episode)
        return episodes

    return write


@pytest.fixture
def store_path(tmp_path: Path, write_episodes: Callable[..., list[Episode]]) -> Path:
    """A small sound episode store: lengths 3, 1 and 5."""
    path = tmp_path / "train.zarr"
    write_episodes(path)
    return path


@pytest.fixture
def latent_path(tmp_path: Path, store_path: Path) -> Path:
    """The sound latent store of ``store_path``: 4 latents, 2 codes of 8."""
    path = tmp_path / "latents.zarr"
    episodes = EpisodeStore.open(store_path)
    generator = np.random.default_rng(0)
    with LatentWriter(
        path, episodes=episodes, lam="lapo", seed=1, latent_dim=4, num_tokens=2, codebook_size=8
    ) as writer:
        writer.append(
            generator.normal(size=(episodes.num_rows, 4)).astype(np.float32),
            generator.integers(0, 8, (episodes.num_rows, 2)),
        )
    return path
