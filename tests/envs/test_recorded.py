"""Environments that nobody plays: their facts, their splits, and what is refused."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from lamflow.envs.described import described
from lamflow.envs.levels import draw_levels
from lamflow.envs.recorded_facts import UNKNOWN_STEPS
from lamflow.envs.recorded_settings import RecordedSettings, SplitSettings
from lamflow.envs.recorded_splits import shared_out
from lamflow.envs.registry import make_vector_environment
from lamflow.envs.spec import EnvironmentSpec
from lamflow.episodes.interface import EpisodeEntry
from lamflow.episodes.npz import NpzSource
from lamflow.spaces import Discrete, Pixels, Unknown


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten episodes of four rows on two days, with actions from 0 to 3."""
    for number in range(10):
        day = tmp_path / "recordings" / f"day{number % 2}"
        day.mkdir(parents=True, exist_ok=True)
        frames = np.full((4, 48, 64, 3), number, np.uint8)
        np.savez(day / f"{number}.npz", frames=frames, actions=np.arange(4))
    return tmp_path / "recordings"


def settings(folder: Path, **more: Any) -> RecordedSettings:
    return RecordedSettings.model_validate({"episodes": {"kind": "npz", "path": str(folder)}, **more})


def test_facts_are_those_of_the_source(folder: Path) -> None:
    spec = described(settings(folder, frames={"height": 32, "width": 64, "fit": "letterbox"}), "mine")
    assert spec.observation == {"frames": Pixels((32, 64, 3))} and spec.action == Discrete(4)
    assert spec.family == "recorded" and spec.demonstrator == "recorded" and not spec.final_observations
    assert spec.max_steps == 4
    assert spec.own["episodes"] == {"train": 8, "validation": 1, "test": 1}
    assert spec.own["rows"] == {"train": 32, "validation": 4, "test": 4}
    assert spec.action_names == ("action 0", "action 1", "action 2", "action 3")
    assert EnvironmentSpec.from_facts(spec.facts()) == spec


def test_more_actions_may_be_declared_than_were_taken_and_none_fewer(folder: Path) -> None:
    assert described(settings(folder, actions=5), "mine").action == Discrete(5)
    message = "actions: found 3, expected at least 4: episode 'day0/0', row 3: found the action 3"
    with pytest.raises(ValueError, match=message):
        described(settings(folder, actions=3), "mine")
    with pytest.raises(ValueError, match="action_names: found left, right, expected 4 different names"):
        described(settings(folder, action_names=("left", "right")), "mine")


def test_recordings_without_actions(tmp_path: Path) -> None:
    for number in range(3):
        np.savez(tmp_path / f"{number}.npz", frames=np.zeros((2, 32, 32, 3), np.uint8))
    assert described(settings(tmp_path), "mine").action == Unknown()
    assert described(settings(tmp_path, actions=5), "mine").action == Discrete(5)


def test_an_action_that_never_changes_is_told(tmp_path: Path) -> None:
    for number in range(3):
        np.savez(tmp_path / f"{number}.npz", frames=np.zeros((2, 32, 32, 3), np.uint8), actions=[0, 0])
    (note,) = described(settings(tmp_path), "mine").own["notes"]
    assert note == f"{tmp_path}: actions is 0 in all 6 rows: it may be a column that nobody filled."


def test_what_only_decoding_tells_is_left_open(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = NpzSource.describe

    def without_rows(source: NpzSource) -> Any:
        from dataclasses import replace

        found = whole(source)
        return replace(found, episodes=tuple(replace(entry, rows=None) for entry in found.episodes))

    monkeypatch.setattr(NpzSource, "describe", without_rows)
    spec = settings(folder).build(name="mine")
    assert spec.max_steps == UNKNOWN_STEPS and spec.own["rows"]["train"] is None


def test_a_changed_file_is_noticed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = settings(folder)
    before = described(asked, "mine")
    np.savez(folder / "day0" / "0.npz", frames=np.zeros((9, 48, 64, 3), np.uint8), actions=np.zeros(9, np.int64))
    monkeypatch.setattr("lamflow.envs.described._ASKED", {})  # as in another process
    after = described(asked, "mine")
    assert before.max_steps == 4 and after.max_steps == 9
    os.utime(folder / "day0" / "0.npz", ns=(1, 1))
    monkeypatch.setattr("lamflow.envs.described._ASKED", {})
    assert described(asked, "mine") == after


def test_nobody_plays_them(folder: Path) -> None:
    spec = described(settings(folder), "mine")
    with pytest.raises(ValueError, match="mine: found an environment of kind recorded, which nobody can play"):
        make_vector_environment(spec, 2)
    with pytest.raises(ValueError, match="which nobody can play"):
        draw_levels(spec, "test", 2, seed=0)


def entries(groups: str) -> list[EpisodeEntry]:
    return [EpisodeEntry(f"episode {place}", 1, group) for place, group in enumerate(groups)]


@pytest.mark.parametrize("seed", range(5))
def test_no_split_is_empty_and_shares_are_near_the_fractions(seed: int) -> None:
    splits = shared_out(entries("a" * 40), SplitSettings(train=0.8, seed=seed))
    assert [splits.count(name) for name in ("train", "validation", "test")] == [32, 4, 4]
    few = shared_out(entries("aaa"), SplitSettings(seed=seed))
    assert sorted(few) == ["test", "train", "validation"]
    assert shared_out(entries("a" * 40), SplitSettings(train=0.8, seed=seed)) == splits


@pytest.mark.parametrize("seed", range(5))
def test_a_group_is_never_split(seed: int) -> None:
    episodes = entries("aabbbcddddddefghhhhij")
    splits = shared_out(episodes, SplitSettings(train=0.6, by="group", seed=seed))
    of_group: dict[str, set[str]] = {}
    for episode, split in zip(episodes, splits, strict=True):
        of_group.setdefault(episode.group, set()).add(split)
    assert all(len(found) == 1 for found in of_group.values()) and len(set(splits)) == 3


def labelled_ones(num_labelled: int, num_others: int) -> list[EpisodeEntry]:
    return [EpisodeEntry(f"{place}", 1, labelled=place < num_labelled) for place in range(num_labelled + num_others)]


@pytest.mark.parametrize("seed", range(5))
def test_each_split_has_its_share_of_the_labelled_episodes(seed: int) -> None:
    splits = shared_out(labelled_ones(10, 190), SplitSettings(train=0.6, seed=seed))
    assert [splits[:10].count(name) for name in ("train", "validation", "test")] == [6, 2, 2]
    assert [splits[10:].count(name) for name in ("train", "validation", "test")] == [114, 38, 38]


@pytest.mark.parametrize(
    ("num_labelled", "expected"), [(1, ["train"]), (2, ["test", "train"]), (3, ["test", "train", "validation"])]
)
@pytest.mark.parametrize("num_others", [2, 40])
def test_few_labelled_episodes_are_for_train_then_test(num_labelled: int, num_others: int, expected: list[str]) -> None:
    splits = shared_out(labelled_ones(num_labelled, num_others), SplitSettings())
    assert sorted(splits[:num_labelled]) == expected and len(set(splits)) == 3


def test_a_group_is_labelled_where_an_episode_of_it_is() -> None:
    groups = [EpisodeEntry(f"{place}", 1, f"{place // 2}", labelled=place in (1, 5)) for place in range(20)]
    splits = shared_out(groups, SplitSettings(by="group"))
    assert splits[0] == splits[1] and {splits[1], splits[5]} == {"train", "test"}


def test_other_seeds_share_out_otherwise() -> None:
    drawn = {tuple(shared_out(entries("a" * 40), SplitSettings(seed=seed))) for seed in range(5)}
    assert len(drawn) == 5


def test_too_few_episodes_or_groups() -> None:
    with pytest.raises(ValueError, match=r"splits.by: found 2 episodes, expected at least 3: one for each of train"):
        shared_out(entries("ab"), SplitSettings())
    with pytest.raises(ValueError, match=r"splits.by: found 1 group, expected at least 3"):
        shared_out(entries("aaaa"), SplitSettings(by="group"))


def test_what_fractions_are_left_out_is_shared() -> None:
    assert SplitSettings().fractions == pytest.approx((0.9, 0.05, 0.05))
    assert SplitSettings(train=0.7, test=0.2).fractions == pytest.approx((0.7, 0.1, 0.2))
    assert SplitSettings(train=0.7, validation=0.2).fractions == pytest.approx((0.7, 0.2, 0.1))
    for wrong in ({"train": 0.9, "test": 0.2}, {"train": 0.5, "validation": 0.1, "test": 0.1}):
        with pytest.raises(ValidationError, match="expected parts above 0 that sum to 1"):
            SplitSettings.model_validate(wrong)


def test_frames_have_both_sides(folder: Path) -> None:
    with pytest.raises(ValidationError, match="found one of height and width, expected both or none"):
        settings(folder, frames={"height": 64})
    with pytest.raises(ValidationError, match="greater than or equal to 32"):
        settings(folder, frames={"height": 16, "width": 16})


def test_unknown_keys_and_kinds_are_refused(folder: Path) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        settings(folder, codec="h264")
    with pytest.raises(ValidationError, match="'cassette'"):
        RecordedSettings.model_validate({"episodes": {"kind": "cassette", "path": "x"}})


def test_what_the_source_refuses_names_the_key(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"episodes: .*found an empty folder, expected NumPy files"):
        described(settings(tmp_path), "mine")
