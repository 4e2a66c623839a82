"""Recorded episodes in HDF5 files of other people's layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hdf5_data import LENGTHS, act, d4rl, libero, numbers, pictures, robomimic, write

from lamflow.episodes import row_slices
from lamflow.episodes.fit import FrameFit
from lamflow.episodes.hdf5 import Hdf5Source
from lamflow.episodes.hdf5_settings import Hdf5Settings
from lamflow.episodes.interface import Piece
from lamflow.settings_errors import settings_from
from lamflow.spaces import Box, Discrete, Pixels, Vector


def source(path: Path, fit: FrameFit | None = None, **settings: Any) -> Hdf5Source:
    read = settings_from({"kind": "hdf5", "path": str(path), **settings}, Hdf5Settings, "a test")
    built = read.build(fit=fit or FrameFit())
    assert isinstance(built, Hdf5Source)
    return built


def read(found: Hdf5Source) -> dict[str, tuple[Piece, bool]]:
    """Each episode as one piece, and whether it terminated."""
    return {episode.entry.name: (joined(list(episode.pieces)), episode.terminated) for episode in found.episodes()}


def joined(pieces: list[Piece]) -> Piece:
    def of(columns: list[Any]) -> Any:
        return None if columns[0] is None else np.concatenate(columns)

    return Piece(
        {name: of([piece.observations[name] for piece in pieces]) for name in pieces[0].observations},
        of([piece.actions for piece in pieces]),
        rewards=of([piece.rewards for piece in pieces]),
    )


def box_of(actions: Any) -> Box:
    values = np.concatenate(actions).astype(np.float32)
    return Box(tuple(map(float, values.min(0))), tuple(map(float, values.max(0))))


def test_the_demos_of_robomimic_are_read_in_natural_order_with_their_masks(tmp_path: Path) -> None:
    found = source(robomimic(tmp_path / "lift.hdf5"), keys={"parts": {"position": "obs/robot0_eef_pos"}})
    described = found.describe()
    assert described.observation == {"frames": Pixels((64, 64, 3)), "position": Vector((3,))}
    assert described.main == "frames" and not described.final_observations and not described.lossy
    assert described.action == box_of([numbers(name, rows) for name, rows in LENGTHS.items()])
    assert [(entry.name, entry.rows, entry.group) for entry in described.episodes] == [
        ("demo_0", 4, "train"),
        ("demo_1", 3, "valid"),
        ("demo_2", 5, "train"),
        ("demo_10", 2, "train"),
    ]
    assert described.frames_per_second == 20 and described.facts["environment_id"] == "Lift"
    assert any("obs/robot0_eye_in_hand_image, too: choose in keys.frames" in note for note in described.notes)
    for name, (piece, terminated) in read(found).items():
        rows = LENGTHS[name]
        np.testing.assert_array_equal(piece.observations["frames"], pictures(name, rows))
        np.testing.assert_array_equal(piece.observations["position"], numbers(name + "pos", rows, 3).astype(np.float32))
        np.testing.assert_array_equal(piece.actions, numbers(name, rows).astype(np.float32))
        assert piece.rewards is not None and piece.rewards.tolist() == list(range(rows)) and terminated


def test_a_folder_of_liberos_tasks_is_one_set_whose_groups_are_its_files(tmp_path: Path) -> None:
    for task in ("task_2", "task_10"):
        libero(tmp_path / f"suite/{task}.hdf5")
    found = source(tmp_path, FrameFit(64, 64), keys={"frames": "obs/eye_in_hand_rgb"})
    described = found.describe()
    assert [(entry.name, entry.group) for entry in described.episodes] == [
        ("suite/task_2/demo_0", "suite/task_2"),
        ("suite/task_10/demo_0", "suite/task_10"),
    ]
    assert described.observation == {"frames": Pixels((64, 64, 3))} and described.facts["recorded_size"] == [128, 128]
    piece, terminated = read(found)["suite/task_10/demo_0"]
    assert terminated and piece.rewards is not None and piece.rewards.tolist() == [0, 0, 1]
    agentview = source(tmp_path)
    assert agentview.describe().observation == {"frames": Pixels((128, 128, 3))}
    np.testing.assert_array_equal(
        read(agentview)["suite/task_2/demo_0"][0].observations["frames"], pictures("task_2demo_0", 3, (128, 128, 3))
    )


def test_the_rows_of_d4rl_are_cut_by_terminals_and_timeouts(tmp_path: Path) -> None:
    found = source(d4rl(tmp_path / "hopper.hdf5"))
    described = found.describe()
    assert described.observation == {"state": Vector((11,))} and described.main == "state"
    assert described.action == box_of([numbers("a", 12, 3)])
    assert described.notes == ()
    episodes = read(found)
    assert [len(piece.observations["state"]) for piece, _ in episodes.values()] == [5, 4, 3]
    assert [terminated for _, terminated in episodes.values()] == [True, False, False]
    together = joined([piece for piece, _ in episodes.values()])
    np.testing.assert_array_equal(together.observations["state"], numbers("o", 12, 11).astype(np.float32))
    np.testing.assert_array_equal(together.actions, numbers("a", 12, 3).astype(np.float32))
    assert together.rewards is not None and together.rewards.tolist() == list(range(12))


def test_flags_of_one_kind_alone_are_noted_and_a_length_cuts_where_there_are_none(tmp_path: Path) -> None:
    ended = source(d4rl(tmp_path / "a.hdf5", {"timeouts": None}))
    assert [entry.rows for entry in ended.describe().episodes] == [5, 7]
    assert any(
        "there are no timeouts: episodes end where terminals says alone" in note for note in ended.describe().notes
    )
    cut = source(d4rl(tmp_path / "b.hdf5", {"timeouts": None, "terminals": None}), episode_length=5)
    assert [entry.rows for entry in cut.describe().episodes] == [5, 5, 2]


def test_a_file_may_be_an_episode(tmp_path: Path) -> None:
    for index in (0, 2, 10):
        act(tmp_path / f"episode_{index}.hdf5")
    found = source(tmp_path, layout="file", keys={"parts": {"joints": "observations/qpos"}})
    described = found.describe()
    assert [(entry.name, entry.rows, entry.group) for entry in described.episodes] == [
        ("episode_0", 4, ""),
        ("episode_2", 4, ""),
        ("episode_10", 4, ""),
    ]
    assert described.observation == {"frames": Pixels((48, 64, 3)), "joints": Vector((14,))}
    piece, terminated = read(found)["episode_10"]
    np.testing.assert_array_equal(piece.observations["frames"], pictures("episode_10", 4, (48, 64, 3)))
    np.testing.assert_array_equal(piece.actions, numbers("episode_10", 4, 14).astype(np.float32))
    assert not terminated and piece.rewards is None
    (only,) = source(act(tmp_path / "alone.h5"), layout="file").describe().episodes
    assert only.name == "alone"


def test_pictures_whose_channels_come_first_are_turned_and_said_to_be(tmp_path: Path) -> None:
    turned = {
        f"data/{name}/obs/agentview_image": pictures(name, rows).transpose(0, 3, 1, 2) for name, rows in LENGTHS.items()
    }
    found = source(robomimic(tmp_path / "lift.hdf5", turned))
    assert any("frames: channels come first in the file" in note for note in found.describe().notes)
    for name, (piece, _) in read(found).items():
        np.testing.assert_array_equal(piece.observations["frames"], pictures(name, LENGTHS[name]))


@pytest.mark.parametrize("column", [False, True])
def test_integer_actions_are_discrete(tmp_path: Path, column: bool) -> None:
    taken = (np.arange(12) % 5)[:, None] if column else np.arange(12) % 5
    found = source(d4rl(tmp_path / "maze.hdf5", {"actions": taken}))
    assert found.describe().action == Discrete(5)
    actions = joined([piece for piece, _ in read(found).values()]).actions
    assert actions is not None and actions.dtype == np.int64 and actions.tolist() == [row % 5 for row in range(12)]


def test_recordings_without_actions_say_so(tmp_path: Path) -> None:
    found = source(d4rl(tmp_path / "film.hdf5", {"actions": None, "rewards": None, "observations": pictures("o", 12)}))
    described = found.describe()
    assert described.action is None and described.main == "frames"
    assert any("no actions were found (actions or action)" in note for note in described.notes)
    assert all(piece.actions is None and piece.rewards is None for piece, _ in read(found).values())


def test_bounds_of_actions_may_be_declared_and_entries_that_never_change_are_noted(tmp_path: Path) -> None:
    taken = numbers("a", 12, 3)
    taken[:, 1] = 0.25
    path = d4rl(tmp_path / "hopper.hdf5", {"actions": taken})
    declared = source(path, action_bounds=[-1, 1]).describe()
    assert declared.action == Box((-1, -1, -1), (1, 1, 1))
    assert "1 of the action's 3 entries never change: entry 1" in declared.notes
    still = source(d4rl(tmp_path / "still.hdf5", {"actions": np.zeros((12, 2))})).describe()
    assert still.action == Box((0, 0), (0, 0))
    assert "the action never changes: it is [0.0, 0.0] in all 12 rows; it may be a placeholder" in still.notes


def test_several_vectors_are_parts_of_which_one_is_main(tmp_path: Path) -> None:
    without = {
        f"data/{name}/obs/{key}": None for name in LENGTHS for key in ("agentview_image", "robot0_eye_in_hand_image")
    }
    more = {f"data/{name}/obs/object": numbers(name, rows, 10) for name, rows in LENGTHS.items()}
    path = robomimic(tmp_path / "lift.hdf5", without | more)
    found = source(path, main="object").describe()
    assert found.observation == {"object": Vector((10,)), "robot0_eef_pos": Vector((3,))} and found.main == "object"
    with pytest.raises(
        ValueError, match=r"lift\.hdf5: data/demo_0: main: say which of the parts object, robot0_eef_pos"
    ):
        source(path).describe()
    with pytest.raises(ValueError, match=r"main: found 'x', expected one of the parts object, robot0_eef_pos"):
        source(path, main="x").describe()


def test_pieces_are_bounded_and_end_with_the_chunks_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(
        tmp_path / "film.hdf5",
        {"frames": pictures("f", 23), "actions": np.arange(23) % 3, "terminals": np.arange(23) % 11 == 10},
    )
    with h5py.File(path, "a") as file:
        del file["frames"]
        file.create_dataset("frames", data=pictures("f", 23), chunks=(4, 64, 64, 3), compression="gzip")
    monkeypatch.setattr(row_slices, "PIECE_BYTES", 5 * 64 * 64 * 3)
    pieces = [list(episode.pieces) for episode in source(path).episodes()]
    assert [[len(piece.observations["frames"]) for piece in episode] for episode in pieces] == [
        [4, 4, 3],
        [5, 4, 2],
        [1],
    ]
    together = joined([piece for episode in pieces for piece in episode])
    np.testing.assert_array_equal(together.observations["frames"], pictures("f", 23))


def test_episodes_are_read_by_name(tmp_path: Path) -> None:
    found = source(robomimic(tmp_path / "lift.hdf5"))
    chosen = [episode.entry.name for episode in found.episodes({"demo_10", "demo_1"})]
    assert chosen == ["demo_1", "demo_10"]


def test_layouts_are_recognised_and_other_files_are_not(tmp_path: Path) -> None:
    file, flat = robomimic(tmp_path / "a" / "lift.hdf5"), d4rl(tmp_path / "b" / "hopper.h5")
    assert Hdf5Settings.recognised(file) == Hdf5Settings(path=str(file), layout="robomimic")
    assert Hdf5Settings.recognised(flat.parent) == Hdf5Settings(path=str(flat.parent))
    for index in range(2):
        act(tmp_path / "e" / f"episode_{index}.hdf5")
    assert Hdf5Settings.recognised(tmp_path / "e") == Hdf5Settings(path=str(tmp_path / "e"), layout="file")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "broken.hdf5").write_bytes(b"no")
    (tmp_path / "c" / "notes.txt").write_text("no")
    (tmp_path / "d" / "data").mkdir(parents=True)
    d4rl(tmp_path / "d" / "data" / "main_data.hdf5")
    (tmp_path / "d" / "data" / "metadata.json").write_text("{}")
    assert [Hdf5Settings.recognised(tmp_path / name) for name in ("c", "c/notes.txt", "d", "nothing")] == [None] * 4


# What cannot be read --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "settings", "message"),
    [
        ({"data/demo_2/actions": None}, {}, r"data/demo_2: found no 'actions'; what is there: dones bool \[5\]; next_obs/.*`keys`"),
        ({}, {"keys": {"frames": "obs/top"}}, r"data/demo_0: found no 'obs/top'; .*obs/agentview_image uint8 \[4, 64, 64, 3\]"),
        ({}, {"keys": {"parts": {"x": "obs/x"}}}, r"data/demo_0: found no 'obs/x'; what is there: "),
        ({"data/demo_1/actions": numbers("demo_1", 2)}, {}, r"data/demo_1: actions has 2 rows and obs/agentview_image has 3"),
        (
            {"data/demo_1/obs/agentview_image": pictures("x", 3, (48, 64, 3))},
            {},
            r"data/demo_1: part 'frames' is RecordedPicture\(height=48, width=64.*height=64, width=64.*set `frames: \{height: 64",
        ),
        (
            {"data/demo_1/actions": numbers("demo_1", 3, 6)},
            {},
            r"data/demo_1/actions: found floats with 6 entries per row, expected floats with 7 entries per row as before it",
        ),
        (
            {"data/demo_2/actions": np.full((5, 7), np.nan)},
            {},
            r"data/demo_2/actions: row 0: found nan in entry 0, expected finite numbers: mend or remove the episode",
        ),
        (
            {"data/demo_1/actions": np.full((3, 7), 3.0)},
            {"action_bounds": [-1, 1]},
            r"data/demo_1/actions: row 0: found action 3 in entry 0, expected from -1 to 1; `action_bounds: data`",
        ),
        (
            {"data/demo_0/actions": np.ones((4, 7), int)},
            {},
            r"data/demo_0/actions: found integers with 7 entries per row, expected one integer per row, or floats",
        ),
        (
            {f"data/{name}/obs/agentview_image": np.zeros((rows, 64, 64, 3)) for name, rows in LENGTHS.items()},
            {"keys": {"frames": "obs/agentview_image"}},
            r"data/demo_0: obs/agentview_image is float64 with rows of shape \[64, 64, 3\], expected pictures of bytes, uint8 from",
        ),
        (
            {f"data/demo_10/{key}": values[:0] for key, values in {"actions": numbers("a", 1), "dones": np.ones(1)}.items()},
            {},
            r"data/demo_10: actions has 0 rows and obs/agentview_image has 2",
        ),
        ({f"data/{name}/obs/robot0_eef_pos": np.ones((rows, 2, 2)) for name, rows in LENGTHS.items()},
         {"keys": {"parts": {"p": "obs/robot0_eef_pos"}}}, r"data/demo_0: obs/robot0_eef_pos is float64 with rows of shape \[2, 2\]"),
        (dict.fromkeys(f"data/{name}/obs/agentview_image" for name in LENGTHS)
         | {f"data/{name}/obs/{camera}": pictures(name, rows) for name, rows in LENGTHS.items() for camera in ("left", "right")},
         {}, r"data/demo_0: found several pictures, expected one: obs/left uint8 .*obs/right.*Say which in keys\.frames"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_demo_is_named(
    tmp_path: Path, changes: dict[str, Any], settings: dict[str, Any], message: str
) -> None:
    path = robomimic(tmp_path / "lift.hdf5", changes)
    with pytest.raises(ValueError, match=rf"lift\.hdf5: {message}"):
        source(path, **settings).describe()


def test_nan_in_a_vector_is_named_with_its_demo_and_row(tmp_path: Path) -> None:
    vectors = numbers("demo_2", 5, 3)
    vectors[3, 1] = np.nan
    path = robomimic(tmp_path / "lift.hdf5", {"data/demo_2/obs/robot0_eef_pos": vectors})
    with pytest.raises(
        ValueError, match=r"lift\.hdf5: data/demo_2: obs/robot0_eef_pos: row 3: found nan in entry 1, expected finite"
    ):
        read(source(path, keys={"parts": {"position": "obs/robot0_eef_pos"}}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"terminals": None, "timeouts": None}, r"found no flag, expected flags that end episodes, such as terminals and timeouts: say"),
        ({"terminals": np.zeros(12), "timeouts": None}, r"found terminals, which is 0 in all 12 rows, expected flags .*episode_length"),
        ({"terminals": np.arange(12)}, r"terminals: row 2: found 2, expected 0 or 1"),
        ({"terminals": np.zeros((12, 2))}, r"terminals: found float64 \[12, 2\], expected one flag per row"),
        ({"rewards": np.zeros(11)}, r"rewards has 11 rows and observations has 12, expected as many"),
        ({"actions": np.arange(12) - 1}, r"actions: row 0: found action -1, expected from 0 to 65535"),
        ({"actions": np.array([b"left"] * 12)}, r"actions: found \|S4 \[12\], expected integers \[rows\], or floats"),
        ({"observations": None}, r"found neither pictures \(uint8\) nor vectors in obs, observations, observation; what is there: actions"),
        ({"observations": np.zeros((12, 64, 64, 3))}, r"observations is float64 with rows of shape \[64, 64, 3\], expected pictures"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_flat_file_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = d4rl(tmp_path / "hopper.hdf5", changes)
    with pytest.raises(ValueError, match=rf"hopper\.hdf5: {message}"):
        source(path).describe()


def test_files_that_are_damaged_empty_or_none_are_named(tmp_path: Path) -> None:
    path = robomimic(tmp_path / "lift.hdf5")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(
        ValueError, match=r"lift\.hdf5: damaged or cut off \(OSError: .*truncated file.*copy or download it again"
    ):
        source(path).describe()
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"lift\.hdf5: found an empty file, expected an HDF5 file"):
        source(path).describe()
    path.write_bytes(b"hello")
    with pytest.raises(ValueError, match=r"lift\.hdf5: found a file of 5 bytes that is no HDF5"):
        source(path).describe()
    with pytest.raises(ValueError, match=r"there: found nothing, expected an HDF5 file, or a folder with some"):
        source(tmp_path / "there").describe()
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        ValueError, match=r"empty: found no file that ends in \.hdf5, \.h5, \.hdf, expected at least one"
    ):
        source(tmp_path / "empty").describe()
    nothing = write(tmp_path / "nothing.hdf5", {})
    with pytest.raises(ValueError, match=r"nothing\.hdf5: found neither pictures .* what is there: nothing"):
        source(nothing).describe()
    with pytest.raises(
        ValueError, match=r"nothing\.hdf5: found no group per episode in a group 'data', expected robomimic's"
    ):
        source(nothing, layout="robomimic").describe()


def test_damage_within_a_file_is_named_with_the_demo(tmp_path: Path) -> None:
    path = robomimic(tmp_path / "lift.hdf5")
    with h5py.File(path, "a") as file:
        del file["data/demo_2/obs/agentview_image"]
        stored = file.create_dataset("data/demo_2/obs/agentview_image", data=pictures("demo_2", 5), compression="gzip")
        place = stored.id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[place : place + 64] = bytes(64)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"lift\.hdf5: data/demo_2: obs/agentview_image: damaged or cut off \(OSError"):
        read(source(path))


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    act(tmp_path / "a.h5")
    act(tmp_path / "a.hdf5")
    with pytest.raises(
        ValueError, match=r"a\.hdf5: found episode a, which is in .*a\.h5, too: rename one of the files"
    ):
        source(tmp_path, layout="file").describe()


def test_pictures_that_are_compressed_within_the_file_are_refused(tmp_path: Path) -> None:
    rows = {"observations/images/top": np.zeros((4, 900), np.uint8), "action": numbers("a", 4)}
    path = write(tmp_path / "a.hdf5", rows)
    with pytest.raises(
        ValueError, match=r"images/top is uint8 \[4, 900\], expected pictures .*compressed within the file are not read"
    ):
        source(path, layout="file", keys={"frames": "observations/images/top"}).describe()
    with pytest.raises(
        ValueError,
        match=r"a\.hdf5: found neither pictures .*what is there: action float64 \[4, 7\]; observations/images/top",
    ):
        source(path, layout="file").describe()


def test_a_data_set_of_minari_is_sent_to_its_own_source(tmp_path: Path) -> None:
    d4rl(tmp_path / "toy-v0" / "data" / "main_data.hdf5")
    (tmp_path / "toy-v0" / "data" / "metadata.json").write_text("{}")
    with pytest.raises(ValueError, match=r"found a data set of Minari, .*use \{kind: minari, path: .*toy-v0\}"):
        source(tmp_path).describe()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"action_bounds": [1, 1]}, r"action_bounds: found \[1\.0, 1\.0\], expected the lowest value, and then a higher one"),
        ({"keys": {"parts": {"frames": "x"}}}, r"keys\.parts: found a part named frames: that is `keys\.frames`"),
        ({"layout": "robomimic", "episode_length": 5}, r"episode_length: found 5 with layout robomimic, whose episodes have borders"),
        ({"keys": {"image": "x"}}, r"keys\.image: unknown key; known here: frames, actions, rewards, dones, timeouts, parts"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_together_are_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings_from({"path": "x", **given}, Hdf5Settings, "a test")
