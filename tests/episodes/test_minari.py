"""Recorded episodes of Minari, which Minari itself has written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import h5py
import numpy as np
import pytest
from minari_data import LENGTHS, PICTURE, Box, buffers, numbers, pictures, write

from lamflow.episodes import row_slices
from lamflow.episodes.fit import FrameFit
from lamflow.episodes.interface import Piece
from lamflow.episodes.minari import MinariSource
from lamflow.episodes.minari_settings import MinariSettings
from lamflow.settings_errors import settings_from
from lamflow.spaces import Box as BoxActions
from lamflow.spaces import Categories, Discrete, Pixels, Vector

FORMATS = ("hdf5", "arrow", "parquet")
ACTIONS = Box(-1, 1, (2,), np.float32)
Discretes = gymnasium.spaces.Discrete
Dict = gymnasium.spaces.Dict


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    return tmp_path


def source(path: Path, fit: FrameFit | None = None, **settings: Any) -> MinariSource:
    read = settings_from({"kind": "minari", "path": str(path), **settings}, MinariSettings, "a test")
    built = read.build(fit=fit or FrameFit())
    assert isinstance(built, MinariSource)
    return built


def joined(pieces: list[Piece]) -> tuple[dict[str, Any], Any, Any]:
    names = pieces[0].observations
    return (
        {name: np.concatenate([piece.observations[name] for piece in pieces]) for name in names},
        np.concatenate([piece.actions for piece in pieces if piece.actions is not None]),
        np.concatenate([piece.rewards for piece in pieces if piece.rewards is not None]),
    )


def continuous(episode: int, rows: int) -> Any:
    return numbers(episode + 100, rows, 2)


@pytest.mark.parametrize("data_format", FORMATS)
def test_pictures_that_are_not_compressed_and_their_actions_are_those_that_minari_wrote(
    root: Path, data_format: str
) -> None:
    path = write(root, buffers(pictures, continuous), PICTURE, ACTIONS, data_format=data_format, jpeg_encoding=False)
    found = source(path).describe()
    assert found.observation == {"frames": Pixels((64, 64, 3))} and found.main == "frames"
    assert found.action == BoxActions((-1, -1), (1, 1))
    assert [(entry.name, entry.rows) for entry in found.episodes] == [
        ("episode_0", 4),
        ("episode_1", 6),
        ("episode_2", 3),
    ]
    assert found.final_observations and not found.lossy and found.notes == ()
    assert found.facts["format"] == f"minari, {data_format}" and found.facts["recorded_size"] == [64, 64]
    for index, episode in enumerate(source(path).episodes()):
        observations, actions, rewards = joined(list(episode.pieces))
        np.testing.assert_array_equal(observations["frames"], pictures(index, LENGTHS[index] + 1))
        np.testing.assert_array_equal(actions[:-1], continuous(index, LENGTHS[index]))
        assert actions.dtype == np.float32 and rewards.dtype == np.float32
        assert rewards[:-1].tolist() == list(range(LENGTHS[index]))
        assert episode.terminated == (index == 1)


@pytest.mark.parametrize("data_format", FORMATS)
def test_pictures_that_minari_compressed_are_said_to_be_lossy_and_nearly_equal(root: Path, data_format: str) -> None:
    path = write(root, buffers(pictures, continuous), PICTURE, ACTIONS, data_format=data_format)
    found = source(path).describe()
    assert found.lossy
    assert "frames: Minari compressed these pictures as JPEG" in found.notes[0]
    for index, episode in enumerate(source(path).episodes()):
        observations, actions, _ = joined(list(episode.pieces))
        error = np.abs(observations["frames"].astype(int) - pictures(index, LENGTHS[index] + 1))
        assert 0 < error.mean() < 4
        np.testing.assert_array_equal(actions[:-1], continuous(index, LENGTHS[index]))


def test_an_episode_is_read_in_pieces_of_bounded_size(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(root, buffers(pictures, continuous), PICTURE, ACTIONS, jpeg_encoding=False)
    monkeypatch.setattr(row_slices, "PIECE_BYTES", 2 * 64 * 64 * 3 + 100)
    (episode,) = source(path).episodes(["episode_1"])
    pieces = list(episode.pieces)
    assert [len(piece.observations["frames"]) for piece in pieces] == [2, 2, 2]
    np.testing.assert_array_equal(joined(pieces)[0]["frames"], pictures(1, 6))


def test_pictures_are_brought_to_the_size_that_is_asked_for(root: Path) -> None:
    path = write(root, buffers(pictures, continuous), PICTURE, ACTIONS, jpeg_encoding=False)
    small = source(path, FrameFit(32, 48))
    assert small.describe().observation == {"frames": Pixels((32, 48, 3))}
    (episode, *_) = small.episodes()
    assert joined(list(episode.pieces))[0]["frames"].shape == (4, 32, 48, 3)


@pytest.mark.parametrize("data_format", FORMATS)
def test_a_dict_is_read_by_parts_and_text_is_left_out(root: Path, data_format: str) -> None:
    space = Dict(
        {
            "camera": Box(0, 255, (3, 40, 48), np.uint8),
            "goal": Dict({"slide cabinet": Box(-1, 1, (1,), np.float64), "kettle": Box(-1, 1, (7,), np.float64)}),
            "heading": Discretes(4, start=1),
            "mission": gymnasium.spaces.Text(20),
        }
    )

    def observed(episode: int, rows: int) -> Any:
        return {
            "camera": pictures(episode, rows, (40, 48, 3)).transpose(0, 3, 1, 2).copy(),
            "goal": {
                "slide cabinet": numbers(1, rows, 1).astype(float),
                "kettle": numbers(episode, rows, 7).astype(float),
            },
            "heading": np.arange(rows) % 4 + 1,
            "mission": ["go"] * rows,
        }

    path = write(root, buffers(observed, continuous), space, ACTIONS, data_format=data_format)
    found = source(path).describe()
    assert found.observation == {
        "camera": Pixels((40, 48, 3)),
        "goal-kettle": Vector((7,)),
        "goal-slide_cabinet": Vector((1,)),
        "heading": Categories((1,), (4,)),
    }
    assert found.main == "camera" and not found.lossy
    assert any("channels come first" in note for note in found.notes)
    assert any("left out: mission" in note for note in found.notes)
    for index, episode in enumerate(source(path).episodes()):
        rows = LENGTHS[index] + 1
        observations, *_ = joined(list(episode.pieces))
        np.testing.assert_array_equal(observations["camera"], pictures(index, rows, (40, 48, 3)))
        np.testing.assert_array_equal(observations["goal-kettle"], numbers(index, rows, 7))
        assert observations["heading"].tolist() == [[row % 4] for row in range(rows)]
    assert source(path, parts=["goal-kettle"]).describe().main == "goal-kettle"
    with pytest.raises(ValueError, match=r"toy-v0: main: say which of the parts goal-kettle, heading latent action"):
        source(path, parts=["goal-kettle", "heading"]).describe()
    with pytest.raises(ValueError, match=r"main: found 'x', expected one of the parts camera, goal-kettle"):
        source(path, main="x").describe()
    with pytest.raises(ValueError, match=r"parts: found 'x', expected some of camera, goal-kettle, .*mission"):
        source(path, parts=["x"]).describe()


@pytest.mark.parametrize(
    ("shape", "dtype", "part"),
    [
        ((40, 48), np.uint8, Pixels((40, 48, 3))),
        ((40, 48, 1), np.uint8, Pixels((40, 48, 3))),
        ((5,), np.float64, Vector((5,))),
        ((128,), np.uint8, Vector((128,))),
    ],
)
def test_grey_pictures_get_three_channels_and_numbers_are_vectors(
    root: Path, shape: Any, dtype: Any, part: Any
) -> None:
    space = Box(0, 255, shape, dtype)
    path = write(
        root,
        buffers(lambda _, rows: np.full((rows, *shape), 7, dtype), continuous),
        space,
        ACTIONS,
        jpeg_encoding=False,
    )
    found = source(path).describe()
    assert list(found.observation.values()) == [part]
    (episode, *_) = source(path).episodes()
    values = next(iter(joined(list(episode.pieces))[0].values()))
    assert values.shape[1:] == part.shape and (values == 7).all()


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize(
    ("space", "row", "action", "expected", "note"),
    [
        (Discretes(4), lambda row: row, Discrete(4), [0, 1, 2], None),
        (
            Discretes(5, start=-1),
            lambda row: row - 1,
            Discrete(5),
            [0, 1, 2],
            "actions begin at -1 in the data, and at 0 here",
        ),
        (
            gymnasium.spaces.MultiDiscrete([3, 4]),
            lambda row: [row, 3],
            Discrete(12),
            [3, 7, 11],
            "become one of 12 numbers",
        ),
        (gymnasium.spaces.MultiBinary(2), lambda row: [1, row % 2], Discrete(4), [2, 3, 2], "become one of 4 numbers"),
    ],
)
def test_discrete_actions_of_all_kinds_are_numbers_from_0(
    root: Path,
    data_format: str,
    space: Any,
    row: Callable[[int], Any],
    action: Any,
    expected: list[int],
    note: str | None,
) -> None:
    def taken(_: int, rows: int) -> Any:
        return np.array([row(index % 3) for index in range(rows)], space.dtype)

    path = write(
        root,
        buffers(lambda episode, rows: numbers(episode, rows, 3), taken),
        Box(-1, 1, (3,)),
        space,
        data_format=data_format,
    )
    found = source(path).describe()
    assert found.action == action
    assert note is None or any(note in told for told in found.notes)
    (episode, *_) = source(path).episodes()
    actions = joined(list(episode.pieces))[1]
    assert actions[:-1].tolist() == expected and actions.dtype == np.int64
    assert found.action_names == () or len(found.action_names) == action.count


def test_the_combinations_of_several_discrete_actions_have_their_numbers_as_names(root: Path) -> None:
    space = gymnasium.spaces.MultiDiscrete([2, 2], start=[1, 0])
    path = write(root, buffers(lambda e, n: numbers(e, n, 3), lambda e, n: np.full((n, 2), 1)), Box(-1, 1, (3,)), space)
    assert source(path).describe().action_names == ("1 0", "1 1", "2 0", "2 1")


def test_actions_without_bounds_get_those_of_the_data_and_others_where_it_is_asked(root: Path) -> None:
    unbounded = Box(-np.inf, np.inf, (2,), np.float32)
    path = write(root, buffers(pictures, continuous), PICTURE, unbounded)
    taken = np.concatenate([continuous(index, length) for index, length in enumerate(LENGTHS)])
    of_data = BoxActions(tuple(map(float, taken.min(0))), tuple(map(float, taken.max(0))))
    assert source(path).describe().action == of_data
    bounded = write(root, buffers(pictures, continuous), PICTURE, ACTIONS, name="test/bounded-v0")
    assert source(bounded, action_bounds="data").describe().action == of_data
    assert source(bounded, action_bounds=[-2, 2]).describe().action == BoxActions((-2, -2), (2, 2))


def test_a_data_set_is_found_by_its_id_and_recognised_by_its_folder(root: Path, tmp_path: Path) -> None:
    path = write(root, buffers(pictures, continuous), PICTURE, ACTIONS)
    by_id = MinariSettings(id="test/toy-v0")
    assert by_id.files == (str(path),)
    assert len(by_id.build(fit=FrameFit()).describe().episodes) == 3
    assert MinariSettings(path=str(path / "data")).folder == path
    assert MinariSettings.recognised(path) == MinariSettings.recognised(path / "data") == MinariSettings(path=str(path))
    assert MinariSettings.recognised(tmp_path) is None


# What cannot be read --------------------------------------------------------------------------------------------------


def test_what_is_not_there_is_not_downloaded(root: Path) -> None:
    missing = MinariSettings(id="D4RL/door/human-v2")
    with pytest.raises(
        ValueError, match=r"D4RL/door/human-v2: found no data set of Minari.*minari download D4RL/door/human-v2"
    ):
        missing.build(fit=FrameFit()).describe()
    with pytest.raises(
        ValueError, match=r"x: found no data set of Minari, expected its folder, which holds the folder data"
    ):
        source(root / "x").describe()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"path, id: found path None and id None, expected one of the two"),
        ({"path": "a", "id": "b"}, r"path, id: found path 'a' and id 'b', expected one of the two"),
        ({"path": "a", "action_bounds": [1, -1]}, r"action_bounds: found \[1\.0, -1\.0\], expected the lowest value"),
        ({"path": "a", "parts": []}, r"parts: "),
    ],
)
def test_settings_that_do_not_fit_together_are_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings_from(given, MinariSettings, "a test")


@pytest.mark.parametrize(
    ("space", "make", "message"),
    [
        (
            gymnasium.spaces.Tuple((PICTURE, Box(-1, 1, (2,)))),
            lambda e, n: (pictures(e, n), numbers(e, n, 2)),
            r"toy-v0: observation space: it is Tuple\(.*, expected a picture",
        ),
        (
            Box(0, 1, (64, 64, 3), np.float32),
            lambda e, n: pictures(e, n).astype(np.float32) / 255,
            r"observation space: it is Box float32 \[64, 64, 3\], expected a picture \(Box uint8",
        ),
        (
            Box(0, 255, (7, 7, 3), np.uint8),
            lambda e, n: pictures(e, n, (7, 7, 3)),
            r"'frames': found frames of 7 x 7 pixels.*set `frames",
        ),
    ],
)
def test_observations_that_nothing_here_can_take_are_named(root: Path, space: Any, make: Any, message: str) -> None:
    path = write(root, buffers(make, continuous), space, ACTIONS)
    with pytest.raises(ValueError, match=message):
        source(path).describe()


@pytest.mark.parametrize(
    "space", [Dict({"a": Discretes(2)}), gymnasium.spaces.MultiDiscrete([99, 99]), Box(-1, 1, (2, 2), np.float32)]
)
def test_actions_that_nothing_here_can_take_are_named(root: Path, space: Any) -> None:
    def taken(_: int, rows: int) -> Any:
        samples = [space.sample() for _ in range(rows)]
        return {"a": np.array([sample["a"] for sample in samples])} if isinstance(space, Dict) else np.stack(samples)

    path = write(root, buffers(pictures, taken), PICTURE, space)
    with pytest.raises(
        ValueError, match=r"toy-v0: action space: found .*, expected Discrete, MultiDiscrete of at most 256"
    ):
        source(path).describe()


def changed(path: Path, key: str, values: Any) -> None:
    """The second episode has other ``values`` for ``key``."""
    with h5py.File(path / "data" / "main_data.hdf5", "a") as file:
        del file[f"episode_1/{key}"]
        file[f"episode_1/{key}"] = values


@pytest.mark.parametrize(
    ("key", "values", "message"),
    [
        (
            "observations",
            numbers(0, 5, 3),
            r"episode_1: observations, part 'state': found 5 rows, expected 6, as it has 5 rewards",
        ),
        (
            "observations",
            np.where(np.arange(18) == 7, np.nan, 0).reshape(6, 3),
            r"episode_1: state: row 2: found nan in entry 1",
        ),
        ("rewards", [0, 1, np.inf, 3, 4], r"episode_1: rewards: row 2: found inf in entry 0, expected finite"),
        ("actions", [0, 1, 9, 0, 1], r"episode_1: row 2: found action 9, expected \[4\] values from \[0\] on"),
        ("actions", [0, 1, 2, 1], r"episode_1: actions: found 4 rows, expected 5"),
    ],
)
def test_bad_rows_are_named_with_their_episode(root: Path, key: str, values: Any, message: str) -> None:
    taken = buffers(lambda e, n: numbers(e, n, 3), lambda e, n: np.arange(n) % 4)
    path = write(root, taken, Box(-1, 1, (3,)), Discretes(4))
    changed(path, key, values)
    with pytest.raises(ValueError, match=rf"toy-v0/data: {message}"):
        for episode in source(path).episodes():
            list(episode.pieces)


def test_actions_beyond_the_space_are_named_with_what_to_do(root: Path) -> None:
    path = write(root, buffers(pictures, lambda e, n: 2 * np.ones((n, 2), np.float32)), PICTURE, ACTIONS)
    with pytest.raises(
        ValueError, match=r"episode_0: row 0: found action 2 in entry 0, expected from -1 to 1; `action_bounds: data`"
    ):
        source(path).describe()
    found = source(path, action_bounds="data").describe()
    assert any("the action never changes: it is [2.0, 2.0] in all 10 rows" in note for note in found.notes)


@pytest.mark.parametrize("data_format", FORMATS)
def test_a_damaged_episode_is_named(root: Path, data_format: str) -> None:
    path = write(root, buffers(pictures, continuous), PICTURE, ACTIONS, data_format=data_format)
    file = next(path.glob(f"data/1/*.{data_format}" if data_format != "hdf5" else "data/main_data.hdf5"))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"toy-v0/data.*: could not be read \(.*expected a whole data set of Minari"):
        for episode in source(path).episodes():
            list(episode.pieces)


def test_a_data_set_of_another_minari_and_one_without_episodes_are_named(root: Path) -> None:
    path = write(root, buffers(pictures, continuous), PICTURE, ACTIONS)
    metadata = path / "data" / "metadata.json"
    written = json.loads(metadata.read_text())
    metadata.write_text(json.dumps(written | {"minari_version": "9.0.0"}))
    with pytest.raises(
        ValueError, match=r"toy-v0: could not be read .*does not support the dataset generated by Minari 9\.0\.0"
    ):
        source(path).describe()
    metadata.write_text(json.dumps(written | {"total_episodes": 0}))
    with pytest.raises(ValueError, match=r"toy-v0: found no episode, expected at least one"):
        source(path).describe()
