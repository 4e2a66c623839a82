"""Stores of other experiments, which lamflow's own writer wrote, as a source."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from lamflow.data.store import EpisodeWriter
from lamflow.envs.interface import Episode
from lamflow.envs.spec import EnvironmentSpec
from lamflow.episodes.fit import FrameFit
from lamflow.episodes.zarr import ZarrSource
from lamflow.episodes.zarr_settings import ZarrSettings
from lamflow.spaces import Discrete, Pixels, Vector

SPEC = EnvironmentSpec(
    name="theirs",
    family="recorded",
    observation={"frames": Pixels((32, 40, 3)), "state": Vector((2,))},
    action=Discrete(4),
    max_steps=9,
)
FRAMES = np.random.default_rng(0).integers(0, 256, (6, 32, 40, 3), np.uint8)


def write(path: Path, split: str, levels: list[int], spec: EnvironmentSpec = SPEC) -> None:
    with EpisodeWriter(path, spec=spec, split=split, attributes={"source": "test", "licence": "MIT"}) as writer:
        for level in levels:
            writer.append(
                Episode(
                    observations={"frames": FRAMES, "state": np.full((6, 2), level, np.float32)},
                    actions=np.arange(5) % 4,
                    rewards=np.ones(5, np.float32),
                    terminated=level % 2 == 0,
                    truncated=level % 2 == 1,
                    level_id=level,
                    labelled=np.arange(5) != 2,
                )
            )


def source_of(path: Path, fit: FrameFit | None = None) -> ZarrSource:
    return ZarrSource(settings=ZarrSettings(path=str(path)), fit=fit or FrameFit())


def test_the_splits_of_a_folder_are_one_source(tmp_path: Path) -> None:
    write(tmp_path / "train.zarr", "train", [4, 5])
    write(tmp_path / "test.zarr", "test", [-1])
    described = source_of(tmp_path).describe()
    assert described.observation == SPEC.observation and described.action == Discrete(4)
    assert described.final_observations and described.licence == "MIT" and described.main == "frames"
    entries = [(entry.name, entry.rows, entry.group) for entry in described.episodes]
    assert entries == [("train-0", 6, "level 4"), ("train-1", 6, "level 5"), ("test-0", 6, "test-0")]
    episodes = source_of(tmp_path).episodes(["train-1"])
    (episode,) = ((each.terminated, list(each.pieces)) for each in episodes)
    terminated, (piece,) = episode
    assert not terminated and np.array_equal(piece.observations["frames"], FRAMES)
    assert (piece.observations["state"] == 5).all() and piece.rewards is not None and piece.actions is not None
    assert piece.labelled is not None and piece.labelled.tolist() == [True, True, False, True, True, False]
    assert piece.actions[piece.labelled].tolist() == [0, 1, 3, 0]


def test_a_store_alone_with_frames_of_another_size(tmp_path: Path) -> None:
    write(tmp_path / "some.zarr", "train", [0])
    source = source_of(tmp_path / "some.zarr", FrameFit(64, 64))
    assert source.describe().observation["frames"].shape == (64, 64, 3)
    (piece,) = next(source.episodes()).pieces
    assert piece.observations["frames"].shape == (6, 64, 64, 3)


def test_stores_that_differ_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "train.zarr", "train", [0])
    write(tmp_path / "test.zarr", "test", [0], dataclasses.replace(SPEC, action=Discrete(7)))
    with pytest.raises(ValueError, match=r"test.zarr: found action .*7.*train.zarr has .*4.*, expected the same"):
        source_of(tmp_path).describe()


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="found no store, expected one"):
        source_of(tmp_path).describe()
    (tmp_path / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    with pytest.raises(ValueError, match="found format None, version None, expected 'lamflow-episodes', version 2"):
        source_of(tmp_path).describe()


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    write(tmp_path / "train.zarr", "train", [0])
    shard = next((tmp_path / "train.zarr" / "observation" / "frames" / "c").rglob("0"))
    while shard.is_dir():
        shard = shard / "0"
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"train.zarr: array 'observation/frames', rows 0 to 5: damaged"):
        list(next(source_of(tmp_path).episodes()).pieces)
