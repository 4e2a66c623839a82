"""Stores that know the actions of some rows, or of none, and episodes that are written in pieces."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ARM, ATTRIBUTES, random_episode
from numpy.typing import NDArray
from test_damaged_stores import at, edit_attributes, rewrite

from lamflow.data.store import EpisodeStore, EpisodeWriter
from lamflow.data.unions import join_stores
from lamflow.data.validate import store_problems
from lamflow.data.windows import effectful, labelled_transitions
from lamflow.envs.interface import Episode
from lamflow.envs.presets import preset
from lamflow.envs.spec import EnvironmentSpec
from lamflow.spaces import Pixels, Unknown

DOORKEY = preset("xland-doorkey-5x5")
CLIPS = EnvironmentSpec(
    name="clips", family="made-up", observation={"frames": Pixels((32, 32, 3))}, action=Unknown(), max_steps=9
)
LENGTHS = (3, 1, 5)
KNOWN = np.array([True, False, True, True, False, False, True, False, True])
"""Of the nine actions of these lengths."""


def episodes_of(spec: EnvironmentSpec, known: NDArray[np.bool_] | None, *, final: bool = True) -> list[Episode]:
    """Of ``LENGTHS``, with actions that exist on all rows; ``known``: whose are said to be known."""
    base = ARM if spec is CLIPS else spec
    found = [random_episode(base, length, seed, final=final) for seed, length in enumerate(LENGTHS)]
    if spec is CLIPS:
        nothing = [np.full(length, -1) for length in LENGTHS]
        found = [replace(episode, actions=actions) for episode, actions in zip(found, nothing, strict=True)]
    if known is None:
        return found
    parts = np.split(known, np.cumsum(LENGTHS)[:-1])
    return [replace(episode, labelled=part) for episode, part in zip(found, parts, strict=True)]


def write(path: Path, spec: EnvironmentSpec, episodes: Sequence[Episode], **attributes: Any) -> EpisodeStore:
    with EpisodeWriter(path, spec=spec, split="train", attributes={**ATTRIBUTES, **attributes}) as writer:
        for episode in episodes:
            writer.append(episode)
    assert store_problems(path) == []
    return EpisodeStore.open(path)


def in_pieces(
    path: Path, spec: EnvironmentSpec, episodes: Sequence[Episode], rows: int, *, final: bool
) -> EpisodeStore:
    """The same, ``rows`` rows at a time; the row of a final observation has an action that does not exist."""
    with EpisodeWriter(
        path, spec=spec, split="train", attributes={**ATTRIBUTES, "final_observations": final}
    ) as writer:
        for episode in episodes:
            total = episode.length + final
            columns = {name: _with_nonsense(getattr(episode, name), total) for name in ("actions", "rewards")}
            if episode.labelled is not None:
                columns["labelled"] = _with_nonsense(episode.labelled, total)
            writer.begin(episode.level_id)
            for start in range(0, total, rows):
                part = slice(start, start + rows)
                observations = {name: values[part] for name, values in episode.observations.items()}
                writer.extend(observations, **{name: values[part] for name, values in columns.items()})
            writer.end(terminated=episode.terminated, truncated=episode.truncated)
    return EpisodeStore.open(path)


def _with_nonsense(values: NDArray[Any], rows: int) -> NDArray[Any]:
    filler = np.full((rows - len(values), *values.shape[1:]), 77).astype(values.dtype)
    return np.concatenate([values, filler])


@pytest.mark.parametrize("final", [True, False])
@pytest.mark.parametrize("rows", [1, 2, 3, 100])
@pytest.mark.parametrize("known", [None, KNOWN], ids=["all", "some"])
def test_pieces_give_the_same_store_as_whole_episodes(
    tmp_path: Path, rows: int, final: bool, known: NDArray[np.bool_] | None
) -> None:
    episodes = episodes_of(ARM, known, final=final)
    whole = write(tmp_path / "whole.zarr", ARM, episodes, final_observations=final)
    assert in_pieces(tmp_path / "pieces.zarr", ARM, episodes, rows, final=final).digest == whole.digest


@pytest.mark.parametrize("spec", [DOORKEY, ARM], ids=["discrete", "continuous"])
def test_actions_of_unlabelled_rows_are_not_stored(tmp_path: Path, spec: EnvironmentSpec) -> None:
    episodes = episodes_of(spec, KNOWN)
    store = write(tmp_path / "some.zarr", spec, episodes)
    arrays, everything = store.load(), write(tmp_path / "all.zarr", spec, episodes_of(spec, None)).load()
    assert (store.recorded, store.attributes["actions"]) == ("some", "some")
    assert arrays.labelled is not None and np.array_equal(arrays.labelled[arrays.acted], KNOWN)
    assert not arrays.labelled[~arrays.acted].any()
    assert np.array_equal(arrays.actions[arrays.labelled], everything.actions[arrays.labelled])
    assert (arrays.actions[~arrays.labelled] == (-1 if spec is DOORKEY else 0)).all()
    poisoned = [replace(episode, actions=_poisoned(episode)) for episode in episodes]
    assert write(tmp_path / "poisoned.zarr", spec, poisoned).digest == store.digest


def _poisoned(episode: Episode) -> NDArray[Any]:
    """Its actions, with ones that do not exist where none is known."""
    actions = episode.actions.copy()
    actions[~episode.labelled] = 10**6
    return actions


@pytest.mark.parametrize("spec", [DOORKEY, CLIPS], ids=["known space", "no space"])
def test_a_store_may_know_no_action(tmp_path: Path, spec: EnvironmentSpec) -> None:
    store = write(tmp_path / "none.zarr", spec, episodes_of(spec, None if spec is CLIPS else KNOWN & False))
    arrays = store.load()
    assert store.recorded == "none" and not (store.path / "labelled").exists()
    assert (arrays.actions == -1).all() and arrays.acted.sum() == 9
    assert not arrays.is_labelled.any() and len(labelled_transitions(arrays)) == 0


def test_pieces_without_actions_make_such_a_store(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3)).astype(np.uint8)
    with EpisodeWriter(tmp_path / "clips.zarr", spec=CLIPS, split="train", attributes=ATTRIBUTES) as writer:
        writer.begin(-1)
        for part in np.split(frames, [2]):
            writer.extend({"frames": part})
        writer.end(terminated=False, truncated=True)
    store = EpisodeStore.open(tmp_path / "clips.zarr")
    assert store.recorded == "none" and store.attributes["return_behaviour"] == 0
    assert np.array_equal(store.load().frames, frames)


def test_a_store_whose_rows_are_all_labelled_is_as_any_other(tmp_path: Path) -> None:
    store = write(tmp_path / "all.zarr", DOORKEY, episodes_of(DOORKEY, KNOWN | True))
    assert store.recorded == "all" and store.load().labelled is None
    assert store.digest == write(tmp_path / "other.zarr", DOORKEY, episodes_of(DOORKEY, None)).digest


def test_labelled_transitions_have_a_next_frame(tmp_path: Path) -> None:
    arrays = write(tmp_path / "some.zarr", ARM, episodes_of(ARM, KNOWN)).load()
    assert labelled_transitions(arrays).tolist() == [0, 2, 4, 8, 10]
    cut = write(tmp_path / "cut.zarr", ARM, episodes_of(ARM, KNOWN, final=False), final_observations=False).load()
    assert labelled_transitions(cut).tolist() == [0, 6]


def test_an_episode_without_an_action_is_left_out(tmp_path: Path) -> None:
    episode = episodes_of(ARM, None)[0]
    first = {name: values[:1] for name, values in episode.observations.items()}
    with EpisodeWriter(tmp_path / "some.zarr", spec=ARM, split="train", attributes=ATTRIBUTES) as writer:
        writer.append(episode)
        writer.begin(7)
        writer.extend(first)
        with pytest.raises(ValueError, match=r"episode 1 \(level 7\): found 1 row\(s\), expected an action at least"):
            writer.end(terminated=False, truncated=True)
        writer.append(episode)
    store = EpisodeStore.open(tmp_path / "some.zarr")
    assert store.load().episode_starts.tolist() == [0, 4] and store_problems(store.path) == []


BAD_PIECES: tuple[tuple[EnvironmentSpec, Mapping[str, Any], str], ...] = (
    (ARM, {"actions": np.full((3, 2), 7, np.float32)}, r"action 0: found 7 in entry 0, expected -1 to 1"),
    (
        ARM,
        {"actions": np.zeros((2, 2), np.float32)},
        r"actions is float32 \[2, 2\], expected float32 \[3, 2\] \(3 rows",
    ),
    (ARM, {"actions": np.zeros((3, 2), np.float32), "labelled": np.ones(2, bool)}, r"labelled is bool \[2\], expected"),
    (ARM, {"rewards": np.full(3, np.nan, np.float32)}, r"found a reward that is NaN or infinite"),
    (CLIPS, {"actions": np.zeros(3, np.int64), "labelled": np.ones(3, bool)}, r"expected none, as clips has no action"),
)


@pytest.mark.parametrize(("spec", "columns", "message"), BAD_PIECES, ids=[message[-20:] for *_, message in BAD_PIECES])
def test_a_piece_that_does_not_fit_is_refused(
    tmp_path: Path, spec: EnvironmentSpec, columns: Mapping[str, Any], message: str
) -> None:
    parts = {name: np.zeros((3, *part.shape), part.dtype) for name, part in spec.observation.items()}
    path = tmp_path / "store.zarr"
    with (
        pytest.raises(ValueError, match=rf"store\.zarr: episode 0 \(level 4\): .*{message}"),
        EpisodeWriter(path, spec=spec, split="train", attributes=ATTRIBUTES) as writer,
    ):
        writer.begin(4)
        writer.extend(parts, **columns)
    assert not path.exists()


def test_a_piece_without_a_part_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="found no part 'pose' in its observations, expected frames, pose"),
        EpisodeWriter(tmp_path / "a.zarr", spec=ARM, split="train", attributes=ATTRIBUTES) as writer,
    ):
        writer.begin(4)
        writer.extend({"frames": np.zeros((1, 32, 32, 3), np.uint8)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"actions": at(1, 2)}, "actions: row 1: found 2, expected -1 where no action is known"),
        ({"actions": at(0, -1)}, "actions: row 0: found -1, expected 0 to 5"),
        ({"labelled": at(3, True)}, "labelled: row 3: found True, expected no known action on final observations"),
        ({"labelled": at(0, False)}, r"actions: row 0: found \d, expected -1 where no action is known"),
    ],
)
def test_the_validator_finds_actions_that_nobody_knows(
    tmp_path: Path, changes: Mapping[str, Callable[[NDArray[Any]], NDArray[Any]]], message: str
) -> None:
    path = write(tmp_path / "some.zarr", DOORKEY, episodes_of(DOORKEY, KNOWN)).path
    rewrite(path, **changes)
    (problem,) = store_problems(path)
    assert re.fullmatch(message, problem)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"actions": "few"}, "found actions 'few', expected one of all, some, none"),
        ({"frame_tolerance": -1}, "found frame_tolerance -1, expected a number of levels from 0 to 254"),
        ({"actions": "none"}, r"actions: row 0 and \d more: found \d, expected -1 where no action is known"),
    ],
)
def test_the_validator_finds_attributes_that_do_not_fit(
    tmp_path: Path, changes: Mapping[str, Any], message: str
) -> None:
    path = write(tmp_path / "some.zarr", DOORKEY, episodes_of(DOORKEY, KNOWN)).path
    edit_attributes(path, **changes)
    assert any(re.search(message, problem) for problem in store_problems(path))


@pytest.mark.parametrize("tolerance", [-1, 255, "a lot", True])
def test_a_tolerance_is_a_number_of_levels(tmp_path: Path, tolerance: Any) -> None:
    with pytest.raises(ValueError, match=r"found frame_tolerance .*, expected a number of levels from 0 to 254"):
        write(tmp_path / "a.zarr", ARM, episodes_of(ARM, None), frame_tolerance=tolerance)


def test_frames_that_differ_by_no_more_than_the_tolerance_are_equal(tmp_path: Path) -> None:
    frames = np.full((5, 32, 32, 3), 100, np.uint8)
    frames[1:, 4, 4, 0] += 3
    frames[3:, 9, 9, 1] -= 4
    episode = replace(
        random_episode(ARM, 4, 0), observations={**random_episode(ARM, 4, 0).observations, "frames": frames}
    )

    arrays = write(tmp_path / "a.zarr", ARM, [episode], frame_tolerance=2.5).load()
    assert arrays.frame_tolerance == 2.5

    def changes(tolerance: float) -> list[bool]:
        return effectful(replace(arrays, frame_tolerance=tolerance)).tolist()

    assert changes(0) == changes(2.5) == [True, False, True, False, False]
    assert changes(3) == [False, False, True, False, False]
    assert changes(4) == [False] * 5


def test_a_union_knows_which_actions_its_members_know(tmp_path: Path) -> None:
    known = {"first": None, "second": KNOWN, "third": KNOWN & False}
    stores = [
        write(tmp_path / f"{name}.zarr", replace(ARM, name=name), episodes_of(ARM, labelled), frame_tolerance=tolerance)
        for tolerance, (name, labelled) in enumerate(known.items())
    ]
    whole = replace(ARM, name="whole")
    join_stores(tmp_path / "whole.zarr", [store.path for store in stores], spec=whole, split="train", shares=None)
    union = EpisodeStore.open(tmp_path / "whole.zarr")
    arrays = union.load(frames=False)
    assert (union.recorded, arrays.frame_tolerance) == ("some", 2)
    assert np.array_equal(arrays.is_labelled, np.concatenate([store.load().is_labelled for store in stores]))
    assert arrays.is_labelled.sum() == 9 + KNOWN.sum()
