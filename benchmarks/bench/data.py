"""Episode stores for benchmarks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lamflow.data.group_writer import GroupWriter, attributes_digest, sha256_of
from lamflow.data.latents import LatentStore, LatentWriter
from lamflow.data.store import EpisodeStore, EpisodeWriter, expected_arrays, row_array_specs
from lamflow.envs.interface import Episode
from lamflow.envs.levels import draw_levels
from lamflow.envs.spec import EnvironmentSpec
from lamflow.envs.tiles import AGENT_TILE
from lamflow.rl.pixel_rollouts import play_episodes

ATTRIBUTES = {"source": "benchmark", "licence": "none"}
GRID_EPISODE, REPEATED_EPISODE = 20, 256
FRAMES = "observation/frames"
PLAYED_LEVELS, PLAYED_SLOTS = 10_000, 8


class _RandomPlay:
    """A ``FrameActor`` that acts at random."""

    def __init__(self, spec: EnvironmentSpec) -> None:
        self.spec = spec
        self._generator = np.random.default_rng(0)

    def act(self, frames: NDArray[np.uint8]) -> NDArray[np.int64]:
        return self._generator.integers(self.spec.num_actions, size=len(frames))


def write_store(path: Path, spec: EnvironmentSpec, num_rows: int) -> EpisodeStore:
    """A store of at least ``num_rows`` rows: random play of a Procgen game, or made-up grids."""
    with EpisodeWriter(path, spec=spec, split="train", attributes=ATTRIBUTES) as writer:
        episodes = _played(spec) if spec.view == "pixels" else _made_up(spec)
        for episode in episodes:
            writer.append(episode)
            if writer.num_rows >= num_rows:
                break
    return EpisodeStore.open(path)


def _played(spec: EnvironmentSpec) -> Iterator[Episode]:
    return play_episodes(_RandomPlay(spec), draw_levels(spec, "train", PLAYED_LEVELS, seed=0), batch=PLAYED_SLOTS)


def _made_up(spec: EnvironmentSpec) -> Iterator[Episode]:
    """Random categories with one agent in each frame; speed does not depend on what they mean."""
    generator = np.random.default_rng(0)
    while True:
        shape = (GRID_EPISODE + 1, *spec.frame_shape)
        frames = generator.integers(0, (AGENT_TILE, spec.category_sizes[1]), shape).astype(np.uint8)
        if spec.view == "full":
            frames[:, 1, 1, 0] = AGENT_TILE + generator.integers(0, 4, len(frames))
        nothing = {name: np.zeros((len(frames), *part.shape), part.dtype) for name, part in spec.observation.items()}
        yield Episode(
            observations={**nothing, "frames": frames},
            actions=generator.integers(spec.num_actions, size=GRID_EPISODE),
            rewards=np.zeros(GRID_EPISODE, np.float32),
            terminated=False,
            truncated=True,
            level_id=0,
        )


def write_latents(path: Path, episodes: EpisodeStore, latent_dim: int) -> LatentStore:
    """A latent store of standard normal latents, without codes, beside ``episodes``."""
    generator = np.random.default_rng(0)
    with LatentWriter(path, episodes=episodes, lam="lapo", seed=0, latent_dim=latent_dim) as writer:
        writer.append(generator.standard_normal((episodes.num_rows, latent_dim), np.float32))
    return LatentStore.open(path, episodes=episodes)


def write_repeated_store(path: Path, original: EpisodeStore, num_shards: int) -> EpisodeStore:
    """A store with the frames of ``original``, one shard of a whole number of episodes, over and over: each shard file is a hard link.

    Its other columns are those of one episode a ``REPEATED_EPISODE`` rows, all zeros, each with an action.
    """
    frames = original.rows(FRAMES)
    assert original.num_rows == frames.shard_rows, "one shard, and a full one"
    num_rows = num_shards * frames.shard_rows
    starts = np.arange(0, num_rows, REPEATED_EPISODE)
    counts = {"num_rows": num_rows, "num_episodes": len(starts)}
    specs = expected_arrays(original.attributes | counts)
    narrow = {spec.name: (spec, rows) for spec, rows in specs if spec.name != FRAMES}
    with GroupWriter(path, [spec for spec, _ in narrow.values()]) as writer:
        for name, (spec, rows) in narrow.items():
            column = np.full(rows, name == "acted", spec.dtype)
            writer.append(name, starts if name in ("episode_starts", "level_seeds") else column)
        writer.attributes = original.attributes | counts
    _link_frames(path, original, num_shards, num_rows)
    return EpisodeStore.open(path)


def _link_frames(path: Path, original: EpisodeStore, num_shards: int, num_rows: int) -> None:
    """Put the array of frames into the sealed group at ``path``, and its files into the group's list."""
    array = json.loads((original.path / FRAMES / "zarr.json").read_bytes())
    array["shape"][0] = num_rows
    (path / FRAMES).mkdir(parents=True)
    (path / FRAMES / "zarr.json").write_text(json.dumps(array), encoding="utf-8")
    ending = "/".join("0" for _ in array["shape"][1:])
    shard = f"{FRAMES}/c/0/{ending}"
    names = [f"{FRAMES}/c/{number}/{ending}" for number in range(num_shards)]
    for name in names:
        (path / name).parent.mkdir(parents=True)
        (path / name).hardlink_to(original.path / shard)
    group = json.loads((path / "zarr.json").read_bytes())
    attributes = group["attributes"]
    changed = path / FRAMES / "zarr.json"
    attributes["files"] |= dict.fromkeys(names, original.attributes["files"][shard])
    attributes["files"][f"{FRAMES}/zarr.json"] = [changed.stat().st_size, sha256_of(changed)]
    attributes["digest"] = attributes_digest(attributes)
    (path / "zarr.json").write_text(json.dumps(group), encoding="utf-8")


def write_one_shard(path: Path, spec: EnvironmentSpec) -> EpisodeStore:
    """A store of exactly one full shard of frames of random play, in episodes of ``REPEATED_EPISODE`` rows."""
    shard_rows = next(array.shard_rows for array in row_array_specs(spec) if array.name == FRAMES)
    frames, missing = [], shard_rows
    for episode in _played(spec):
        frames.append(episode.observations["frames"][:missing])
        missing -= len(frames[-1])
        if not missing:
            break
    length = REPEATED_EPISODE
    with EpisodeWriter(path, spec=spec, split="train", attributes=ATTRIBUTES) as writer:
        for part in np.split(np.concatenate(frames), shard_rows // length):
            writer.append(
                Episode(
                    observations={"frames": part},
                    actions=np.zeros(length, np.int64),
                    rewards=np.zeros(length, np.float32),
                    terminated=False,
                    truncated=True,
                    level_id=0,
                )
            )
    return EpisodeStore.open(path)
