"""Importing Procgen archives of "The Generalization Gap in Offline RL" from archives in their form."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lapo_files import played

from lamflow.data.store import EpisodeStore
from lamflow.data.validate import store_problems
from lamflow.envs.presets import preset
from lamflow.stages.import_dgrl import import_dgrl

ENV = "procgen-leaper"
SETTINGS: dict[str, Any] = {"urls": [], "licence": "CC-BY-NC", "version": "1M/expert", "return_random": 2.5}
SPLITS = ("train", "validation", "test")


def stored_episode(length: int, seed: int, *, last_row: bool = True) -> dict[str, Any]:
    """An episode as the data set's code saves it: channels first, T + 1 frames, columns of actions and rewards."""
    frames = played(64, seed)["obs"][: length + last_row].transpose(0, 3, 1, 2)
    rewards = np.zeros((length, 1), np.float32)
    rewards[-1] = seed % 3
    return {
        "observations": frames.copy(),
        "actions": np.arange(length)[:, None] % 15,
        "rewards": rewards,
        "dones": np.arange(length) == length - 1,
    }


def as_npy(value: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array(value, dtype=object), allow_pickle=True)
    return stream.getvalue()


def name_of(index: int, episode: dict[str, Any], level: int) -> str:
    return f"20220101T000000_{index}_{len(episode['actions'])}_{level}_{episode['rewards'].sum():.2f}.npy"


def write_archive(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:xz", preset=0) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"leaper/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


LEVELS = (3, 170, 190, 159, 199)
EPISODES = [stored_episode(5 + index, index) for index in range(len(LEVELS))]


def good_files() -> dict[str, bytes]:
    numbered = enumerate(zip(EPISODES, LEVELS, strict=True))
    return {name_of(index, episode, level): as_npy(episode) for index, (episode, level) in numbered}


def imported(archive: Path, **settings: Any) -> dict[str, EpisodeStore]:
    outputs = {split: archive.parent / f"{split}.zarr" for split in SPLITS}
    import_dgrl(environment=preset(ENV).facts(), settings=SETTINGS | settings, archive=archive, outputs=outputs)
    return {split: EpisodeStore.open(path, env=ENV) for split, path in outputs.items()}


def no_store(folder: Path) -> bool:
    return not any("zarr" in file.name for file in folder.iterdir())


def test_episodes_come_to_the_split_of_their_level_with_their_level_seeds(tmp_path: Path) -> None:
    stores = imported(write_archive(tmp_path / "leaper.tar.xz", good_files()))
    seeds = {split: store.load().level_seeds.tolist() for split, store in stores.items()}
    assert seeds == {"train": [3, 159], "validation": [170], "test": [190, 199]}
    for store in stores.values():
        assert store_problems(store.path) == []
        assert store.attributes["return_expert"] == (2 + 1) / 2
        assert store.attributes["return_random"] == 2.5


def test_frames_are_turned_to_channels_last_and_the_final_one_is_dropped(tmp_path: Path) -> None:
    arrays = imported(write_archive(tmp_path / "leaper.tar.xz", good_files()))["validation"].load()
    np.testing.assert_array_equal(arrays.frames, played(64, 1)["obs"][:6])
    np.testing.assert_array_equal(arrays.actions, np.arange(6))
    np.testing.assert_array_equal(arrays.rewards, [0, 0, 0, 0, 0, 1])
    assert np.flatnonzero(arrays.terminated).tolist() == [5] and not arrays.truncated.any()


@pytest.mark.parametrize(
    "variant",
    [
        stored_episode(6, 1, last_row=False),
        {("obs" if k == "observations" else k): v for k, v in stored_episode(6, 1).items()},
        stored_episode(6, 1) | {"observations": stored_episode(6, 1)["observations"].astype(np.float32)},
        stored_episode(6, 1) | {"actions": np.arange(6), "dones": np.arange(6) // 5},
    ],
    ids=["without the final frame", "obs", "float frames", "flat columns"],
)
def test_other_forms_of_an_episode_give_the_same_store(tmp_path: Path, variant: dict[str, Any]) -> None:
    expected = imported(write_archive(tmp_path / "leaper.tar.xz", good_files()))["validation"].load()
    other = tmp_path / "other"
    other.mkdir()
    files = good_files() | {name_of(1, EPISODES[1], 170): as_npy(variant)}
    found = imported(write_archive(other / "leaper.tar.xz", files))["validation"].load()
    np.testing.assert_array_equal(found.frames, expected.frames)
    assert list(found.observations) == list(expected.observations) == ["frames"]
    for name in vars(expected).keys() - {"observations"}:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_npz_episodes_are_read_as_well(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.savez_compressed(stream, **EPISODES[1])
    name = name_of(1, EPISODES[1], 171).replace(".npy", ".npz")
    stores = imported(write_archive(tmp_path / "leaper.tar.xz", good_files() | {name: stream.getvalue()}))
    assert stores["validation"].load().level_seeds.tolist() == [170, 171]


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_pickles_of_any_age_are_read(tmp_path: Path, protocol: int) -> None:
    header = as_npy({})
    start = header.index(b"\n") + 1
    content = header[:start] + pickle.dumps(np.array(EPISODES[1], dtype=object), protocol=protocol)
    if protocol == 4:  # numpy 1 calls its core so
        content = content.replace(b"\x8c\x16numpy._core.multiarray", b"\x8c\x15numpy.core.multiarray")
        assert b"numpy.core.multiarray" in content
    files = good_files() | {name_of(9, EPISODES[1], 171): content}
    assert imported(write_archive(tmp_path / "leaper.tar.xz", files))["validation"].num_episodes == 2


class Hostile:
    """Touches a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("place", ["whole", "value", "array"])
def test_a_pickle_that_would_run_a_program_is_refused_and_does_not_run_it(tmp_path: Path, place: str) -> None:
    mark = tmp_path / "it_ran"
    hostile = Hostile(mark)
    value: Any = {
        "whole": hostile,
        "value": EPISODES[1] | {"rewards": hostile},
        "array": EPISODES[1] | {"rewards": np.array([hostile], dtype=object)},
    }[place]
    content = as_npy(value)
    np.load(io.BytesIO(content), allow_pickle=True)
    assert mark.exists()
    mark.unlink()
    files = good_files() | {name_of(9, EPISODES[1], 171): content}
    with pytest.raises(
        ValueError, match=r"_9_6_171_1\.00\.npy: not an episode .* it wants posix\.system, and only numpy arrays"
    ):
        imported(write_archive(tmp_path / "leaper.tar.xz", files))
    assert not mark.exists() and no_store(tmp_path)


def episode_with(**changes: Any) -> bytes:
    return as_npy(EPISODES[1] | changes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            as_npy({k: v for k, v in EPISODES[1].items() if k != "dones"}),
            r"key dones is missing, found observations, actions",
        ),
        (
            episode_with(observations=EPISODES[1]["observations"][:4]),
            r"obs is uint8 \[4, 3, 64, 64\], expected uint8 \[6,",
        ),
        (episode_with(observations=EPISODES[1]["observations"] * 0.5), r"obs: found values that are no bytes"),
        (episode_with(actions=np.arange(5)), r"actions is int64 \[5\], expected numbers \[6\]"),
        (
            episode_with(rewards=np.ones(6, np.float32)),
            r"rewards: found a return of 6\.00, expected that of the name, 1\.0",
        ),
        (episode_with(dones=np.ones(6, np.bool_)), r"dones: row 0 of 6 ends the episode"),
        (episode_with(dones=np.full(6, 0.5)), r"dones: found 0\.5 in row 0, expected 0 or 1"),
        (episode_with(actions=[1, 2]), r"key actions is list"),
        (as_npy([1, 2])[:-3], r"not an episode"),
        (b"\x93NUMPY", r"not an episode"),
        (b"PK\x03\x04 cut off", r"damaged \(BadZipFile"),
    ],
)
def test_an_episode_of_another_form_is_named_and_leaves_no_store(tmp_path: Path, content: bytes, message: str) -> None:
    files = good_files() | {name_of(9, EPISODES[1], 171): content}
    with pytest.raises(ValueError, match=r"leaper\.tar\.xz: leaper/20220101T000000_9_6_171_1\.00\.npy: .*" + message):
        imported(write_archive(tmp_path / "leaper.tar.xz", files))
    assert no_store(tmp_path)


def test_a_name_that_tells_no_level_is_refused(tmp_path: Path) -> None:
    files = good_files() | {"episode_5.npy": as_npy(EPISODES[0])}
    with pytest.raises(
        ValueError, match=r"episode_5\.npy: expected a name <timestamp>_<index>_<length>_<levelseed>_<return>"
    ):
        imported(write_archive(tmp_path / "leaper.tar.xz", files))


def test_a_truncated_archive_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    whole = write_archive(tmp_path / "leaper.tar.xz", good_files()).read_bytes()
    for length in (len(whole) // 3, len(whole) // 2, len(whole) - 40, len(whole) - 4):
        archive = tmp_path / f"cut{length}" / "leaper.tar.xz"
        archive.parent.mkdir()
        archive.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"leaper\.tar\.xz.*: damaged or cut off .*download it again"):
            imported(archive)
        assert no_store(archive.parent)


def test_a_split_without_an_episode_is_refused(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "leaper.tar.xz", good_files())
    with pytest.raises(ValueError, match=r"found no episode on the levels of validation, expected some of each split"):
        imported(archive, validation_levels=(160, 165))
    assert no_store(tmp_path)
