"""Levels: deterministic draws, splits that share no initial state."""

from collections import Counter

import numpy as np
import pytest

from lamflow.envs.interface import SPLITS
from lamflow.envs.levels import LevelStream, draw_levels
from lamflow.envs.presets import preset
from lamflow.envs.procgen_family import PROCGEN_RANGES
from lamflow.envs.rulesets import split_bounds
from lamflow.envs.xland import make_simulator
from lamflow.envs.xland_family import initial_state_digests, split_of_digest

DOORKEY = "xland-doorkey-5x5"
XLAND = "xland-r1-9x9"
PROCGEN = "procgen-maze"


def test_splits_share_no_initial_state_although_small_grids_have_few() -> None:
    states = {}
    for split in SPLITS:
        levels = draw_levels(preset(DOORKEY), split, 600, seed=0)
        states[split] = set(initial_state_digests(make_simulator(preset(DOORKEY)), levels))
    assert len(states["train"]) < 600, "this grid has few layouts, so seeds repeat them"
    assert not states["train"] & states["test"]
    assert not states["train"] & states["validation"]
    assert not states["validation"] & states["test"]


def test_the_same_arguments_give_the_same_levels() -> None:
    for env in (DOORKEY, XLAND):
        first, again = draw_levels(preset(env), "train", 300, seed=3), draw_levels(preset(env), "train", 300, seed=3)
        np.testing.assert_array_equal(first, again)
        assert first.dtype == np.int64
        assert (first != draw_levels(preset(env), "train", 300, seed=4)).any()
        np.testing.assert_array_equal(draw_levels(preset(env), "train", 100, seed=3), first[:100])


def test_levels_of_both_views_are_the_same() -> None:
    np.testing.assert_array_equal(
        draw_levels(preset(DOORKEY), "test", 50, seed=1), draw_levels(preset(f"{DOORKEY}-full"), "test", 50, seed=1)
    )


def test_xland_splits_share_no_ruleset() -> None:
    bounds = split_bounds(100)
    for split in SPLITS:
        levels = draw_levels(preset(XLAND), split, 500, seed=0, num_rulesets=100)
        assert set((levels >> 32).tolist()) == set(bounds[split])
        assert len(np.unique(levels)) == 500


def test_eight_tenths_of_the_states_are_for_training() -> None:
    shares = Counter(split_of_digest(np.random.default_rng(seed).bytes(8)) for seed in range(2000))
    assert abs(shares["train"] / 2000 - 0.8) < 0.03
    assert abs(shares["test"] / 2000 - 0.1) < 0.02


def test_unknown_splits_and_environments_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown split 'dev'; known: train, validation, test"):
        draw_levels(preset(DOORKEY), "dev", 1, seed=0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown environment"):
        draw_levels(preset("xland-nowhere"), "train", 1, seed=0)


def test_a_level_of_an_unknown_ruleset_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a ruleset below 10; use the num_rulesets"):
        make_simulator(preset(XLAND), 10).reset_levels(np.array([10 << 32 | 7]))


def test_procgens_splits_are_ranges_that_share_no_level_and_leave_none_out() -> None:
    assert tuple(PROCGEN_RANGES) == SPLITS
    assert [bounds.start for bounds in PROCGEN_RANGES.values()] == [
        0,
        *(bounds.stop for bounds in list(PROCGEN_RANGES.values())[:-1]),
    ]
    assert PROCGEN_RANGES["test"].stop == 2**31
    assert [round(10 * len(bounds) / 2**31) for bounds in PROCGEN_RANGES.values()] == [8, 1, 1]
    for split in SPLITS:
        levels = draw_levels(preset(PROCGEN), split, 2000, seed=0)
        assert all(level in PROCGEN_RANGES[split] for level in levels.tolist())
        assert levels.dtype == np.int64
        np.testing.assert_array_equal(draw_levels(preset(PROCGEN), split, 50, seed=0), levels[:50])


def test_a_draw_from_all_of_procgens_levels_does_not_keep_to_the_split() -> None:
    for split in SPLITS:
        levels = draw_levels(preset(PROCGEN), split, 500, seed=0, all_levels=True)
        assert all(any(level in bounds for level in levels.tolist()) for bounds in PROCGEN_RANGES.values())
    draws = [draw_levels(preset(PROCGEN), split, 500, seed=0, all_levels=True) for split in SPLITS]
    assert len(np.unique(np.concatenate(draws))) == 1500


def test_a_level_stream_goes_on_from_its_position(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LevelStream, "CHUNK", 7)
    stream = LevelStream(preset(PROCGEN), "validation", seed=3)
    levels = [next(stream) for _ in range(30)]
    assert stream.position == 30
    assert len(set(levels)) == 30
    assert all(level in PROCGEN_RANGES["validation"] for level in levels)
    for position in (0, 7, 20):
        resumed = LevelStream(preset(PROCGEN), "validation", seed=3, position=position)
        assert [next(resumed) for _ in range(30 - position)] == levels[position:]
    assert next(LevelStream(preset(PROCGEN), "validation", seed=4)) != levels[0]
