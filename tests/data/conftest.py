"""Small stores of random episodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from lamflow.data.latents import LatentWriter
from lamflow.data.store import EpisodeStore, EpisodeWriter
from lamflow.envs.interface import Episode
from lamflow.envs.presets import preset
from lamflow.envs.spec import EnvironmentSpec

ATTRIBUTES = {"source": "random test episodes", "licence": "MIT", "return_expert": 0.9}


def random_episode(spec: EnvironmentSpec, length: int, seed: int, *, final: bool = True) -> Episode:
    """An episode of ``length`` random actions, reward 1 at its end; ``final``: with its final observation."""
    generator = np.random.default_rng(seed)
    rows = length + final
    vectors = (spec.proprioception_sizes, spec.task_sizes)
    proprioception, task = (
        generator.integers(0, sizes or (1,), (rows, len(sizes) or 1)).astype(np.uint8)[:, : len(sizes)]
        for sizes in vectors
    )
    return Episode(
        frames=generator.integers(0, spec.category_sizes or 256, (rows, *spec.frame_shape)).astype(np.uint8),
        proprioception=proprioception,
        task=task,
        actions=generator.integers(0, spec.num_actions, length),
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
        env: str = "xland-doorkey-5x5",
        *,
        final: bool = True,
        seed: int = 0,
    ) -> list[Episode]:
        spec = preset(env)
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
