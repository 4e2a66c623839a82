"""Writing and reading episode stores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from conftest import ATTRIBUTES, random_episode

from lamflow.data import group_writer
from lamflow.data.store import UNKNOWN_LEVEL, EpisodeStore, EpisodeWriter
from lamflow.data.validate import store_problems
from lamflow.envs.interface import Episode
from lamflow.envs.presets import preset

SPEC = preset("xland-doorkey-5x5")
Write = Callable[..., list[Episode]]


@pytest.mark.parametrize("env", ["xland-doorkey-5x5", "xland-doorkey-6x6-full", "xland-r1-9x9"])
def test_episodes_read_back_as_they_were_written(tmp_path: Path, write_episodes: Write, env: str) -> None:
    episodes = write_episodes(tmp_path / "train.zarr", (3, 1, 5), env)
    store = EpisodeStore.open(tmp_path / "train.zarr", env=env)
    arrays = store.load()
    assert arrays.episode_starts.tolist() == [0, 4, 6]
    assert arrays.level_seeds.tolist() == [episode.level_id for episode in episodes]
    for start, episode in zip(arrays.episode_starts, episodes, strict=True):
        last = start + episode.length
        rows = slice(start, last + 1)
        np.testing.assert_array_equal(arrays.observations[rows], episode.frames)
        np.testing.assert_array_equal(arrays.proprioception[rows], episode.proprioception)
        np.testing.assert_array_equal(arrays.task[rows], episode.task)
        np.testing.assert_array_equal(arrays.actions[rows], [*episode.actions, -1])
        np.testing.assert_array_equal(arrays.rewards[rows], [*episode.rewards, 0])
        assert np.flatnonzero(arrays.terminated[rows]).tolist() == [episode.length - 1] * episode.terminated
        assert np.flatnonzero(arrays.truncated[rows]).tolist() == [episode.length - 1] * episode.truncated
    assert (arrays.num_rows, arrays.num_episodes, arrays.num_transitions) == (12, 3, 9)
    assert (store.num_rows, store.num_episodes, store.num_transitions) == (12, 3, 9)


def test_dtypes_are_those_of_the_format(store_path: Path) -> None:
    arrays = EpisodeStore.open(store_path).load()
    dtypes = {name: str(value.dtype) for name, value in vars(arrays).items()}
    assert dtypes == {
        "observations": "uint8",
        "proprioception": "uint8",
        "task": "uint8",
        "actions": "int64",
        "rewards": "float32",
        "terminated": "bool",
        "truncated": "bool",
        "episode_starts": "int64",
        "level_seeds": "int64",
    }
    assert arrays.task.shape == (12, 0)


def test_attributes_are_complete(store_path: Path) -> None:
    attributes = EpisodeStore.open(store_path).attributes
    expected = {
        "format": "lamflow-episodes",
        "format_version": 1,
        "env": "xland-doorkey-5x5",
        "split": "train",
        "num_episodes": 3,
        "num_rows": 12,
        "num_actions": 6,
        "source": ATTRIBUTES["source"],
        "licence": "MIT",
        "return_expert": 0.9,
        "return_random": None,
        "return_behaviour": 1.0,
        "final_observations": True,
        "complete": True,
    }
    assert {name: attributes[name] for name in expected} == expected


def test_without_final_observations_an_episode_has_as_many_rows_as_actions(
    tmp_path: Path, write_episodes: Write
) -> None:
    write_episodes(tmp_path / "a.zarr", (3, 1), final=False)
    store = EpisodeStore.open(tmp_path / "a.zarr")
    arrays = store.load()
    assert not store.final_observations
    assert (arrays.actions >= 0).all()
    assert np.flatnonzero(arrays.terminated | arrays.truncated).tolist() == [2, 3]
    assert store.num_transitions == 2


def test_a_split_may_be_loaded_without_its_frames_which_are_not_even_read(
    tmp_path: Path, write_episodes: Write
) -> None:
    write_episodes(tmp_path / "a.zarr")
    store = EpisodeStore.open(tmp_path / "a.zarr")
    whole, part = store.load(), EpisodeStore.open(tmp_path / "a.zarr")
    for file in (tmp_path / "a.zarr" / "observations").rglob("*"):
        if file.is_file() and file.name != "zarr.json":
            file.write_bytes(bytes(file.stat().st_size))
    found = part.load(frames=False)
    assert found.observations.shape == (whole.num_rows, 0)
    np.testing.assert_array_equal(found.actions, whole.actions)
    with pytest.raises(ValueError, match="observations"):
        part.load()


def test_pixels_are_stored_without_vectors_and_without_final_observations(tmp_path: Path) -> None:
    spec = preset("procgen-maze")
    episodes = [random_episode(spec, length, length, final=False) for length in (70, 1, 5)]
    with EpisodeWriter(tmp_path / "a.zarr", spec=spec, split="train", attributes=ATTRIBUTES) as writer:
        for episode in episodes:
            writer.append(replace(episode, level_id=UNKNOWN_LEVEL))
    store = EpisodeStore.open(tmp_path / "a.zarr")
    arrays = store.load()
    assert not store.final_observations and store.num_transitions == 73
    assert not (store.path / "proprioception").exists() and not (store.path / "task").exists()
    assert arrays.proprioception.shape == arrays.task.shape == (76, 0)
    assert arrays.level_seeds.tolist() == [-1, -1, -1]
    np.testing.assert_array_equal(arrays.observations, np.concatenate([episode.frames for episode in episodes]))
    assert store_problems(store.path) == []


def test_returns_of_episodes_that_are_not_whole_do_not_count(tmp_path: Path) -> None:
    with EpisodeWriter(tmp_path / "a.zarr", spec=SPEC, split="train", attributes=ATTRIBUTES) as writer:
        writer.append(random_episode(SPEC, 2, 0))
        part = random_episode(SPEC, 3, 1)
        writer.append(replace(part, rewards=np.zeros(3, np.float32)), whole=False)
    assert EpisodeStore.open(tmp_path / "a.zarr").attributes["return_behaviour"] == 1.0


@pytest.mark.parametrize("num_rows", [5, 16, 37])
@pytest.mark.parametrize(("dtype", "row_shape"), [("uint8", (3, 2)), ("int64", ()), ("bool", ()), ("float32", (4,))])
def test_shards_are_byte_for_byte_those_of_zarr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, row_shape: tuple[int, ...], num_rows: int
) -> None:
    monkeypatch.setattr(group_writer, "MAX_CHUNK_ROWS", 4)
    monkeypatch.setattr(group_writer, "CHUNKS_A_SHARD", 4)
    spec = group_writer.ArraySpec("a", dtype, row_shape)
    values = np.random.default_rng(0).integers(0, 2, (num_rows, *row_shape)).astype(dtype)
    with group_writer.GroupWriter(tmp_path / "ours.zarr", [spec]) as writer:
        for start in range(0, num_rows, 7):
            writer.append("a", values[start : start + 7])
    zarr.create_array(
        tmp_path / "zarrs" / "a",
        shape=values.shape,
        dtype=dtype,
        chunks=(4, *row_shape),
        shards=(16, *row_shape),
        compressors=[zarr.codecs.ZstdCodec(level=3), zarr.codecs.Crc32cCodec()],
        config={"write_empty_chunks": True},
    )[...] = values
    ours, theirs = (
        {file.relative_to(root).as_posix(): file.read_bytes() for file in (root / "a").rglob("*") if file.is_file()}
        for root in (tmp_path / "ours.zarr", tmp_path / "zarrs")
    )
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name] and not name.endswith(".json")] == []


def test_attributes_may_be_filled_in_until_the_block_ends(tmp_path: Path) -> None:
    with EpisodeWriter(tmp_path / "a.zarr", spec=SPEC, split="test", attributes=ATTRIBUTES) as writer:
        writer.append(random_episode(SPEC, 2, 0))
        writer.attributes["return_random"] = np.float64(0.25)
    assert EpisodeStore.open(tmp_path / "a.zarr").attributes["return_random"] == 0.25


def test_equal_episodes_give_equal_digests(tmp_path: Path, write_episodes: Write) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_episodes(tmp_path / f"{name}.zarr", seed=seed)
    a, b, c = (EpisodeStore.open(tmp_path / f"{name}.zarr").digest for name in "abc")
    assert a == b != c


def test_rows_are_continued_across_shards(
    tmp_path: Path, write_episodes: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_writer, "CHUNK_BYTES", 4 * 50)
    monkeypatch.setattr(group_writer, "CHUNKS_A_SHARD", 2)
    episodes = write_episodes(tmp_path / "a.zarr", (3, 7, 20, 1))
    assert len(list((tmp_path / "a.zarr" / "observations" / "c").iterdir())) == 5  # 35 rows in shards of 8
    arrays = EpisodeStore.open(tmp_path / "a.zarr").load()
    np.testing.assert_array_equal(arrays.observations, np.concatenate([episode.frames for episode in episodes]))


def test_chunks_decode_in_about_a_millisecond_and_shards_bound_the_buffer() -> None:
    layouts = {shape: group_writer.ArraySpec("a", "uint8", shape) for shape in ((5, 5, 2), (64, 64, 3))}
    assert (layouts[5, 5, 2].chunk_rows, layouts[64, 64, 3].chunk_rows) == (16_384, 64)
    assert layouts[64, 64, 3].shard_rows == 8192
    assert group_writer.ArraySpec("a", "int64").chunk_rows == 65_536


def test_a_new_store_replaces_the_old_one_only_when_it_is_whole(tmp_path: Path, store_path: Path) -> None:
    before = EpisodeStore.open(store_path).digest
    with EpisodeWriter(store_path, spec=SPEC, split="train", attributes=ATTRIBUTES) as writer:
        writer.append(random_episode(SPEC, 4, 7))
        assert EpisodeStore.open(store_path).digest == before
    assert EpisodeStore.open(store_path).num_rows == 5
    assert [file.name for file in tmp_path.iterdir()] == ["train.zarr"]


def test_an_exception_leaves_nothing_behind(tmp_path: Path) -> None:
    with (
        pytest.raises(KeyError, match="boom"),
        EpisodeWriter(tmp_path / "a.zarr", spec=SPEC, split="train", attributes=ATTRIBUTES) as writer,
    ):
        writer.append(random_episode(SPEC, 4, 7))
        raise KeyError("boom")
    assert list(tmp_path.iterdir()) == []


def test_an_exception_keeps_the_store_that_was_there(tmp_path: Path, store_path: Path) -> None:
    before = EpisodeStore.open(store_path).digest
    with pytest.raises(KeyError), EpisodeWriter(store_path, spec=SPEC, split="train", attributes=ATTRIBUTES):
        raise KeyError
    assert EpisodeStore.open(store_path).digest == before
    assert [file.name for file in tmp_path.iterdir()] == ["train.zarr"]


def test_no_episodes_make_no_store(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match=r"a\.zarr: found no episode to write, expected at least one"),
        EpisodeWriter(tmp_path / "a.zarr", spec=SPEC, split="train", attributes=ATTRIBUTES),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"source": "x"}, "attributes lack licence, expected source, licence"),
        ({**ATTRIBUTES, "env": "x"}, "found attributes env, which the writer fills in itself"),
    ],
)
def test_bad_attributes_are_refused_before_work_starts(
    tmp_path: Path, attributes: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        EpisodeWriter(tmp_path / "a.zarr", spec=SPEC, split="train", attributes=attributes)


def test_an_unknown_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"found split 'dev', expected one of train, validation, test"):
        EpisodeWriter(tmp_path / "a.zarr", spec=SPEC, split="dev", attributes=ATTRIBUTES)


def test_attributes_that_json_has_not_are_refused(tmp_path: Path) -> None:
    attributes = {**ATTRIBUTES, "return_random": float("nan")}
    with (
        pytest.raises(ValueError, match=r"a\.zarr: attributes .* hold a value that JSON has not"),
        EpisodeWriter(tmp_path / "a.zarr", spec=SPEC, split="train", attributes=attributes) as writer,
    ):
        writer.append(random_episode(SPEC, 2, 0))
    assert list(tmp_path.iterdir()) == []


GOOD = random_episode(SPEC, 3, 0)


@pytest.mark.parametrize(
    ("episode", "message"),
    [
        (replace(GOOD, frames=GOOD.frames[:3]), r"observations is uint8 \[3, 5, 5, 2\], expected uint8 \[4, 5, 5, 2\]"),
        (replace(GOOD, frames=GOOD.frames.astype(np.int64)), r"observations is int64 .*, expected uint8"),
        (replace(GOOD, proprioception=GOOD.proprioception[:, :2]), r"proprioception is uint8 \[4, 2\]"),
        (replace(GOOD, actions=GOOD.actions.astype(np.int32)), r"actions is int32 \[3\], expected int64 \[3\]"),
        (replace(GOOD, actions=np.array([0, 6, 1])), r"found actions from 0 to 6, expected 0 to 5"),
        (replace(GOOD, actions=np.array([0, -1, 1])), r"found actions from -1 to 1, expected 0 to 5"),
        (replace(GOOD, rewards=np.array([0, np.nan, 0], np.float32)), r"found a reward that is NaN"),
        (replace(GOOD, actions=GOOD.actions[:0], rewards=GOOD.rewards[:0]), r"found no action, expected at least one"),
    ],
)
def test_an_episode_that_does_not_fit_is_named_and_the_store_stays_usable(
    tmp_path: Path, episode: Episode, message: str
) -> None:
    with EpisodeWriter(tmp_path / "a.zarr", spec=SPEC, split="train", attributes=ATTRIBUTES) as writer:
        writer.append(GOOD)
        with pytest.raises(ValueError, match=r"a\.zarr: episode 1 \(level 100\): " + message):
            writer.append(episode)
    assert EpisodeStore.open(tmp_path / "a.zarr").num_episodes == 1
