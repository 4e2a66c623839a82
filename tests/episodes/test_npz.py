"""Episodes in NumPy's files, as people write them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lamflow.episodes.fit import FrameFit
from lamflow.episodes.interface import Piece
from lamflow.episodes.npz import NpzSource
from lamflow.episodes.npz_settings import NpzSettings
from lamflow.spaces import Box, Discrete, Pixels, Vector

GENERATOR = np.random.default_rng(0)


def pictures(rows: int, height: int = 32, width: int = 48) -> NDArray[np.uint8]:
    return GENERATOR.integers(0, 256, (rows, height, width, 3), np.uint8)


def source_of(folder: Path, fit: FrameFit | None = None, **settings: Any) -> NpzSource:
    return NpzSource(settings=NpzSettings(path=str(folder), **settings), fit=fit or FrameFit())


def whole(pieces: Any, name: str = "frames") -> NDArray[Any]:
    return np.concatenate([piece.observations[name] for piece in pieces])


def test_episodes_in_natural_order_with_actions_rewards_and_ends(tmp_path: Path) -> None:
    frames = {name: pictures(rows) for name, rows in (("ep10", 3), ("ep2", 4))}
    for name, recorded in frames.items():
        ends = np.arange(len(recorded)) == len(recorded) - 1
        np.savez_compressed(
            tmp_path / name, obs=recorded, actions=[0, 1, 4, 2][: len(recorded)], rewards=ends * 0.5, dones=ends
        )
    described = source_of(tmp_path).describe()
    assert [(entry.name, entry.rows) for entry in described.episodes] == [("ep2", 4), ("ep10", 3)]
    assert described.observation == {"frames": Pixels((32, 48, 3))} and described.action == Discrete(5)
    assert not described.final_observations and not described.lossy
    (last,) = source_of(tmp_path).episodes(["ep10"])
    (piece,) = last.pieces
    assert np.array_equal(piece.observations["frames"], frames["ep10"]) and last.terminated
    assert piece.actions is not None and piece.actions.tolist() == [0, 1, 4] and piece.actions.dtype == np.int64
    assert piece.rewards is not None and piece.rewards.tolist() == [0, 0, 0.5]


def test_final_observations_and_a_state_beside_the_picture(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", rgb=pictures(4), state=np.arange(8.0).reshape(4, 2), action=np.full((3, 2), 0.5))
    source = source_of(tmp_path, observations={"state": "state", "frames": "rgb"})
    described = source.describe()
    assert described.final_observations and described.main == "frames"
    assert described.observation["state"] == Vector((2,))
    assert described.action == Box((0.5, 0.5), (1.5, 1.5)) and len(described.notes) == 2
    assert "actions[0] is 0.5 in all 3 rows" in described.notes[0]
    (piece,) = next(source.episodes()).pieces
    assert piece.observations["state"].dtype == np.float32 and piece.actions is not None and len(piece.actions) == 4


def test_frames_in_npy_files_with_actions_beside_some_of_them(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "x.npy", pictures(3)[..., 0])
    np.save(tmp_path / "b" / "x_actions.npy", np.array([-1, 3, 1]))
    source = source_of(tmp_path)
    described = source.describe()
    assert [(entry.name, entry.group) for entry in described.episodes] == [("a/x", "a"), ("b/x", "b")]
    assert described.action == Discrete(4)
    first, second = (next(iter(episode.pieces)) for episode in source.episodes())
    assert first.actions is None and second.labelled is not None and second.labelled.tolist() == [False, True, True]
    assert first.observations["frames"].shape == (3, 32, 48, 3)


def test_pictures_of_any_size_become_frames_of_one(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", frames=pictures(2, 40, 80))
    np.savez(tmp_path / "b.npz", frames=pictures(2, 90, 30).transpose(0, 3, 1, 2))
    with pytest.raises(ValueError, match=r"b.npz.*found a picture of 90 x 30 .*a.npz.* has 40 x 80, expected one size"):
        source_of(tmp_path).describe()
    source = source_of(tmp_path, FrameFit(64, 64, "letterbox"))
    assert source.describe().observation["frames"].shape == (64, 64, 3)
    assert [whole(episode.pieces).shape for episode in source.episodes()] == [(2, 64, 64, 3)] * 2


def test_long_episodes_come_in_pieces(tmp_path: Path) -> None:
    recorded = pictures(1500, 64, 64)
    np.savez(tmp_path / "a.npz", frames=recorded, actions=np.arange(1500) % 3)
    pieces: list[Piece] = list(next(source_of(tmp_path).episodes()).pieces)
    assert len(pieces) == 3 and np.array_equal(whole(pieces), recorded)
    actions = [piece.actions for piece in pieces if piece.actions is not None]
    assert np.array_equal(np.concatenate(actions), np.arange(1500) % 3)


def test_recognised_by_its_files(tmp_path: Path) -> None:
    assert NpzSettings.recognised(tmp_path) is None
    np.save(tmp_path / "a.npy", pictures(1))
    assert NpzSettings.recognised(tmp_path) == NpzSettings(path=str(tmp_path))


def _nothing(folder: Path) -> None:
    (folder / "notes.txt").write_text("")


def _two_of_a_name(folder: Path) -> None:
    np.savez(folder / "a.npz", frames=pictures(2))
    np.save(folder / "a.npy", pictures(2))


def _other_names(folder: Path) -> None:
    np.savez(folder / "a.npz", video=pictures(2))


def _rows_that_do_not_match(folder: Path) -> None:
    np.savez(folder / "a.npz", frames=pictures(5), actions=[0, 1, 2])


def _damaged(folder: Path) -> None:
    np.savez(folder / "a.npz", frames=pictures(5))
    (folder / "a.npz").write_bytes((folder / "a.npz").read_bytes()[:1000])


def _floats(folder: Path) -> None:
    np.savez(folder / "a.npz", frames=pictures(2) / 255)


def _objects(folder: Path) -> None:
    np.savez(folder / "a.npz", frames=np.array([None, None]))


def _actions_below_zero(folder: Path) -> None:
    np.savez(folder / "a.npz", frames=pictures(3), actions=[0, -5, 1])


def _half_known_actions(folder: Path) -> None:
    np.savez(folder / "a.npz", frames=pictures(2), actions=[[0.5, np.nan], [0.5, 0.5]])


def _some_with_final_observations(folder: Path) -> None:
    np.savez(folder / "a.npz", frames=pictures(3), actions=[0, 1])
    np.savez(folder / "b.npz", frames=pictures(3), actions=[0, 1, 1])


def _two_kinds_of_actions(folder: Path) -> None:
    np.savez(folder / "a.npz", frames=pictures(3), actions=[0, 1, 1])
    np.savez(folder / "b.npz", frames=pictures(3), actions=[0.1, 0.2, 0.3])


def _a_huge_action(folder: Path) -> None:
    np.savez(folder / "a.npz", frames=pictures(2), actions=[0, 10**9])


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (_nothing, "found none, but files of .txt, expected NumPy files"),
        (_two_of_a_name, "found an episode of the name 'a', which .* has as well"),
        (_other_names, "found the arrays video, expected one of observations, frames, obs, images"),
        (_rows_that_do_not_match, "array 'actions': found 3 rows, and 5 observations"),
        (_damaged, "damaged, or no NumPy file .BadZipFile"),
        (_floats, r"found float64 \[2, 32, 48, 3\], expected pictures of uint8"),
        (_objects, "found Python objects, expected rows of numbers"),
        (_actions_below_zero, "array 'actions': row 1: found the action -5, expected whole numbers from 0"),
        (_half_known_actions, "array 'actions': row 0: found the action .0.5, nan., expected finite numbers"),
        (_some_with_final_observations, "b.npz: found as many observations as actions, and .*a.npz has one more"),
        (_two_kinds_of_actions, r"b.npz: found actions of float32 \[1\] per row, and .*a.npz has int64 \[\]"),
        (_a_huge_action, "found the action 1000000000, expected whole numbers from 0 to 65535"),
    ],
)
def test_what_cannot_be_read_says_where(tmp_path: Path, write: Callable[[Path], None], message: str) -> None:
    write(tmp_path)
    with pytest.raises(ValueError, match=message) as caught:
        source_of(tmp_path).describe()
    assert str(tmp_path) in str(caught.value)


def test_an_end_before_the_end_is_another_layout(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", frames=pictures(3), dones=[False, True, False])
    with pytest.raises(ValueError, match="array 'dones': row 1: found an end, and 1 rows behind it"):
        list(source_of(tmp_path).episodes())


def test_an_empty_folder_and_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="found an empty folder, expected NumPy files"):
        source_of(tmp_path).describe()
    with pytest.raises(ValueError, match="found no such folder, expected a folder of NumPy files"):
        source_of(tmp_path / "nowhere").describe()
