"""The ruleset generator: deterministic, well-formed, without duplicates; splits that share no ruleset."""

import bz2
import pickle
import time
from pathlib import Path

import numpy as np
import pytest

from lamflow.envs.rulesets import (
    AGENT_HOLD,
    AGENT_NEAR,
    MAX_OBJECTS,
    OBJECT_COLORS,
    OBJECT_TILES,
    TILE_NEAR,
    Rulesets,
    generate_rulesets,
    load_rulesets,
    split_bounds,
)


@pytest.fixture(scope="module")
def rulesets() -> Rulesets:
    return generate_rulesets(3000)


def identities(rulesets: Rulesets) -> list[tuple]:
    return [
        (goal.tobytes(), *sorted(tile.tobytes() for tile in objects))
        for goal, objects in zip(rulesets.goals, rulesets.init_tiles, strict=True)
    ]


def test_arrays_have_the_shapes_of_a_benchmark(rulesets: Rulesets) -> None:
    assert len(rulesets) == 3000
    assert rulesets.goals.shape == (3000, 5)
    assert rulesets.rules.shape == (3000, 1, 7)
    assert rulesets.init_tiles.shape == (3000, MAX_OBJECTS, 2)
    assert rulesets.num_rules.shape == (3000,)
    assert not rulesets.rules.any()
    assert {array.dtype for array in (rulesets.goals, rulesets.rules, rulesets.init_tiles)} == {np.dtype(np.uint8)}


def test_no_ruleset_occurs_twice(rulesets: Rulesets) -> None:
    assert len(set(identities(rulesets))) == len(rulesets)


def test_goals_are_solvable_and_of_every_kind(rulesets: Rulesets) -> None:
    assert set(rulesets.goals[:, 0]) == {AGENT_HOLD, AGENT_NEAR, TILE_NEAR}
    for goal, objects in zip(rulesets.goals, rulesets.init_tiles, strict=True):
        present = [tuple(tile) for tile in objects if tile.any()]
        assert 2 <= len(present) <= MAX_OBJECTS
        assert len(set(present)) == len(present), "objects of one ruleset differ"
        assert all(tile in OBJECT_TILES and color in OBJECT_COLORS for tile, color in present)
        assert tuple(goal[1:3]) in present
        if goal[0] == TILE_NEAR:
            assert tuple(goal[3:5]) in present
        else:
            assert not goal[3:5].any()


def test_the_same_seed_gives_the_same_rulesets_and_a_longer_list_starts_with_a_shorter(rulesets: Rulesets) -> None:
    again, shorter, other = generate_rulesets(3000), generate_rulesets(100), generate_rulesets(3000, seed=1)
    np.testing.assert_array_equal(again.goals, rulesets.goals)
    np.testing.assert_array_equal(again.init_tiles, rulesets.init_tiles)
    np.testing.assert_array_equal(shorter.init_tiles, rulesets.init_tiles[:100])
    assert (other.init_tiles != rulesets.init_tiles).any()


def test_a_thousand_rulesets_take_less_than_a_second() -> None:
    started = time.process_time()
    generate_rulesets(1000)
    assert time.process_time() - started < 1


def test_splits_cover_the_rulesets_and_share_none(rulesets: Rulesets) -> None:
    bounds = split_bounds(len(rulesets))
    assert sorted(index for part in bounds.values() for index in part) == list(range(len(rulesets)))
    assert [len(bounds[split]) for split in ("train", "validation", "test")] == [2400, 300, 300]


def test_too_few_rulesets_for_three_splits_are_refused() -> None:
    with pytest.raises(ValueError, match="num_rulesets: found 9, expected at least 10"):
        split_bounds(9)
    with pytest.raises(ValueError, match="num_rulesets: found 0"):
        generate_rulesets(0)


def test_a_benchmark_file_of_xminigrid_can_be_read(tmp_path: Path, rulesets: Rulesets) -> None:
    path = tmp_path / "benchmark"
    arrays = ("goals", "rules", "init_tiles", "num_rules")
    path.write_bytes(bz2.compress(pickle.dumps({name: getattr(rulesets, name) for name in arrays})))
    loaded = load_rulesets(path)
    assert sorted(identities(loaded)) == sorted(identities(rulesets))
    assert identities(loaded) != identities(rulesets), "the order of a file must not decide the splits"
    np.testing.assert_array_equal(load_rulesets(path).goals, loaded.goals)


def test_a_file_that_is_no_benchmark_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "benchmark"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="no XLand-MiniGrid benchmark file"):
        load_rulesets(path)
