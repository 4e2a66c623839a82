"""Writing and reading episode stores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from conftest import ARM, ATTRIBUTES, random_episode

from lamflow.data import group_writer
from lamflow.data.store import UNKNOWN_LEVEL, EpisodeStore, EpisodeWriter
from lamflow.data.tensors import EpisodeTensors
from lamflow.data.validate import store_problems
from lamflow.data.windows import FRAMES, WindowSpec
from lamflow.envs.interface import Episode, check_actions
from lamflow.envs.presets import preset
from lamflow.spaces import Box

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
        for name, part in episode.observations.items():
            np.testing.assert_array_equal(arrays.observations[name][rows], part)
        np.testing.assert_array_equal(arrays.actions[rows], [*episode.actions, -1])
        assert arrays.acted[rows].tolist() == [True] * episode.length + [False]
        np.testing.assert_array_equal(arrays.rewards[rows], [*episode.rewards, 0])
        assert np.flatnonzero(arrays.terminated[rows]).tolist() == [episode.length - 1] * episode.terminated
        assert np.flatnonzero(arrays.truncated[rows]).tolist() == [episode.length - 1] * episode.truncated
    assert (arrays.num_rows, arrays.num_episodes, arrays.num_transitions) == (12, 3, 9)
    assert (store.num_rows, store.num_episodes, store.num_transitions) == (12, 3, 9)


def test_dtypes_are_those_of_the_format(store_path: Path) -> None:
    arrays = EpisodeStore.open(store_path).load()
    rows = {name: value for name, value in vars(arrays).items() if isinstance(value, np.ndarray)}
    assert {name: str(value.dtype) for name, value in arrays.observations.items()} == {
        "frames": "uint8",
        "proprioception": "uint8",
    }
    assert {name: str(value.dtype) for name, value in rows.items()} == {
        "actions": "int64",
        "acted": "bool",
        "rewards": "float32",
        "terminated": "bool",
        "truncated": "bool",
        "episode_starts": "int64",
        "level_seeds": "int64",
    }
    assert arrays.main == "frames" and arrays.frames is arrays.observations["frames"]


def test_attributes_are_complete(store_path: Path) -> None:
    attributes = EpisodeStore.open(store_path).attributes
    expected = {
        "format": "lamflow-episodes",
        "format_version": 2,
        "env": "xland-doorkey-5x5",
        "split": "train",
        "num_episodes": 3,
        "num_rows": 12,
        "environment": SPEC.facts(),
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
    assert (arrays.actions >= 0).all() and arrays.acted.all()
    assert np.flatnonzero(arrays.terminated | arrays.truncated).tolist() == [2, 3]
    assert store.num_transitions == 2


def test_a_split_may_be_loaded_without_its_frames_which_are_not_even_read(
    tmp_path: Path, write_episodes: Write
) -> None:
    write_episodes(tmp_path / "a.zarr")
    store = EpisodeStore.open(tmp_path / "a.zarr")
    whole, part = store.load(), EpisodeStore.open(tmp_path / "a.zarr")
    for file in (tmp_path / "a.zarr/observation/frames").rglob("*"):
        if file.is_file() and file.name != "zarr.json":
            file.write_bytes(bytes(file.stat().st_size))
    found = part.load(frames=False)
    assert list(found.observations) == ["proprioception"]
    np.testing.assert_array_equal(found.observations["proprioception"], whole.observations["proprioception"])
    np.testing.assert_array_equal(found.actions, whole.actions)
    with pytest.raises(ValueError, match="observation/frames"):
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
    assert {file.name for file in (store.path / "observation").iterdir()} == {"frames", "zarr.json"}
    assert list(arrays.observations) == ["frames"]
    assert arrays.level_seeds.tolist() == [-1, -1, -1]
    expected = np.concatenate([episode.observations["frames"] for episode in episodes])
    np.testing.assert_array_equal(arrays.frames, expected)
    assert store_problems(store.path) == []


@pytest.mark.parametrize("final", [True, False])
def test_numbers_and_continuous_actions_read_back_as_they_were_written(
    tmp_path: Path, write_episodes: Write, final: bool
) -> None:
    path = tmp_path / "a.zarr"
    episodes = write_episodes(path, (3, 1, 5), ARM, final=final)
    store = EpisodeStore.open(path, env="arm")
    assert store.spec == ARM and store.attributes["environment"]["action"]["kind"] == "box"
    arrays = store.load()
    nothing = np.zeros((int(final), 2), np.float32)
    for name in ("frames", "pose"):
        expected = np.concatenate([episode.observations[name] for episode in episodes])
        assert arrays.observations[name].dtype == expected.dtype
        np.testing.assert_array_equal(arrays.observations[name], expected)
        np.testing.assert_array_equal(
            store.rows(f"observation/{name}").read_rows(np.array([2, 0, 7])), expected[[2, 0, 7]]
        )
    expected = np.concatenate([part for episode in episodes for part in (episode.actions, nothing)])
    assert arrays.observations["pose"].dtype == arrays.actions.dtype == np.float32
    np.testing.assert_array_equal(arrays.actions, expected)
    acted = [row for episode in episodes for row in (*[True] * episode.length, *[False] * final)]
    assert arrays.acted.tolist() == acted
    assert store_problems(path) == []


@pytest.mark.parametrize("window_gib", [0, 1])
def test_numbers_and_continuous_actions_come_to_windows(
    tmp_path: Path, write_episodes: Write, window_gib: float
) -> None:
    write_episodes(tmp_path / "a.zarr", (3, 1, 5), ARM)
    store = EpisodeStore.open(tmp_path / "a.zarr")
    arrays, data = store.load(), EpisodeTensors.open(store, window_gib=window_gib, device=torch.device("cpu"))
    spec = WindowSpec(before=1, columns=(FRAMES, "observation/pose", "actions"))
    window = data.part(spec, torch.tensor([1, 4])).gather(torch.tensor([1, 4]))
    rows = [[0, 1], [4, 4]]
    np.testing.assert_array_equal(window.frames, arrays.frames[rows])
    np.testing.assert_array_equal(window.columns["observation/pose"], arrays.observations["pose"][rows])
    np.testing.assert_array_equal(window.columns["actions"], arrays.actions[rows])
    assert data.parts == ("pose",) and data.action_rows.tolist() == np.flatnonzero(arrays.acted).tolist()
    mean, deviation = data.moments()["pose"]
    np.testing.assert_allclose(mean, arrays.observations["pose"].mean(0), rtol=1e-5)
    np.testing.assert_allclose(deviation, arrays.observations["pose"].std(0), rtol=1e-5)


def test_the_main_part_may_have_another_name(tmp_path: Path, write_episodes: Write) -> None:
    spec = replace(ARM, observation={"pose": ARM.observation["pose"], "camera": ARM.main_part}, main="camera")
    episodes = write_episodes(tmp_path / "a.zarr", (3, 1), spec)
    store = EpisodeStore.open(tmp_path / "a.zarr")
    arrays = store.load()
    assert arrays.main == "camera" and list(arrays.observations) == ["pose", "camera"]
    np.testing.assert_array_equal(
        arrays.frames, np.concatenate([episode.observations["camera"] for episode in episodes])
    )
    assert list(store.load(frames=False).observations) == ["pose"]


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
    assert len(list((tmp_path / "a.zarr/observation/frames/c").iterdir())) == 5  # 35 rows in shards of 8
    arrays = EpisodeStore.open(tmp_path / "a.zarr").load()
    expected = np.concatenate([episode.observations["frames"] for episode in episodes])
    np.testing.assert_array_equal(arrays.frames, expected)


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


def seen(episode: Episode, **parts: np.ndarray) -> Episode:
    """The episode with other parts."""
    return replace(episode, observations={**episode.observations, **parts})


GOOD = random_episode(SPEC, 3, 0)
GOOD_FRAMES = GOOD.observations["frames"]


@pytest.mark.parametrize(
    ("episode", "message"),
    [
        (
            seen(GOOD, frames=GOOD_FRAMES[:3]),
            r"observation/frames is uint8 \[3, 5, 5, 2\], expected uint8 \[4, 5, 5, 2\]",
        ),
        (seen(GOOD, frames=GOOD_FRAMES.astype(np.int64)), r"observation/frames is int64 .*, expected uint8"),
        (seen(GOOD, proprioception=np.zeros((4, 2), np.uint8)), r"observation/proprioception is uint8 \[4, 2\]"),
        (
            replace(GOOD, observations={"frames": GOOD_FRAMES}),
            r"found no part 'proprioception' in its observations, expected frames, proprioception",
        ),
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


MOVED = random_episode(ARM, 3, 0)
POSE = MOVED.observations["pose"]


def changed(values: np.ndarray, place: tuple[int, int], value: float) -> np.ndarray:
    found = values.copy()
    found[place] = value
    return found


@pytest.mark.parametrize(
    ("episode", "message"),
    [
        (
            seen(MOVED, pose=changed(POSE, (2, 1), np.nan)),
            r"found NaN or infinity in the part 'pose' of an observation",
        ),
        (
            seen(MOVED, pose=changed(POSE, (3, 0), np.inf)),
            r"found NaN or infinity in the part 'pose' of an observation",
        ),
        (seen(MOVED, pose=POSE.astype(np.float64)), r"observation/pose is float64 \[4, 2\], expected float32 \[4, 2\]"),
        (seen(MOVED, pose=POSE[:3]), r"observation/pose is float32 \[3, 2\], expected float32 \[4, 2\]"),
        (
            replace(MOVED, observations={"frames": MOVED.observations["frames"]}),
            r"found no part 'pose' in its observations, expected frames, pose",
        ),
        (
            replace(MOVED, observations={"pose": POSE}),
            r"found no part 'frames' in its observations, expected frames, pose",
        ),
        (
            replace(MOVED, actions=changed(MOVED.actions, (1, 1), 0.75)),
            r"action 1: found 0\.75 in entry 1, expected 0 to 0\.5",
        ),
        (
            replace(MOVED, actions=changed(MOVED.actions, (2, 0), -1.5)),
            r"action 2: found -1\.5 in entry 0, expected -1 to 1",
        ),
        (
            replace(MOVED, actions=changed(MOVED.actions, (0, 0), np.nan)),
            r"action 0: found nan in entry 0, expected -1 to 1",
        ),
        (replace(MOVED, actions=MOVED.actions[:, :1]), r"actions is float32 \[3, 1\], expected float32 \[3, 2\]"),
        (replace(MOVED, actions=np.zeros((3, 2))), r"actions is float64 \[3, 2\], expected float32 \[3, 2\]"),
        (replace(MOVED, actions=np.zeros(3, np.int64)), r"actions is int64 \[3\], expected float32 \[3, 2\]"),
    ],
)
def test_numbers_that_do_not_fit_are_named_and_the_store_stays_usable(
    tmp_path: Path, episode: Episode, message: str
) -> None:
    with EpisodeWriter(tmp_path / "a.zarr", spec=ARM, split="train", attributes=ATTRIBUTES) as writer:
        writer.append(MOVED)
        with pytest.raises(ValueError, match=r"a\.zarr: episode 1 \(level 100\): " + message):
            writer.append(episode)
    assert EpisodeStore.open(tmp_path / "a.zarr").num_episodes == 1
    assert store_problems(tmp_path / "a.zarr") == []


def test_actions_on_their_bounds_are_written_though_these_are_no_float32(tmp_path: Path) -> None:
    spec = replace(ARM, action=Box((-0.1, -0.1), (0.1, 0.1)))
    bounds = np.array([[-0.1, 0.1]], np.float32)
    check_actions(spec, 1, bounds)
    with EpisodeWriter(tmp_path / "a.zarr", spec=spec, split="train", attributes=ATTRIBUTES) as writer:
        writer.append(replace(random_episode(spec, 1, 0), actions=bounds))
    np.testing.assert_array_equal(EpisodeStore.open(tmp_path / "a.zarr").load().actions[:1], bounds)
