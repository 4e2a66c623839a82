"""Trivial XLand rulesets: one goal, some objects, no production rules; generated from a seed or read from a benchmark file.

Shapes: N rulesets, R rules a ruleset, O initial objects a ruleset. Encodings are those of xminigrid: a goal is (goal id, tile
and colour of its first object, tile and colour of its second), unused entries 0; a rule has 7 entries, all 0 when empty;
an initial object is (tile, colour), (0, 0) where there is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

AGENT_HOLD, AGENT_ON_TILE, AGENT_NEAR, TILE_NEAR = 1, 2, 3, 4
"""Goal ids of xminigrid: pick up an object, step on a tile, stand beside an object, put an object beside another."""

GENERATED_GOALS = (AGENT_HOLD, AGENT_NEAR, TILE_NEAR)
OBJECT_TILES = (3, 4, 5, 7, 11, 12)
"""Ball, square, pyramid, key, hex, star: what the agent can pick up."""
OBJECT_COLORS = (1, 2, 3, 4, 5, 6, 8, 9, 10, 11)
"""All colours but empty and black, which is the floor's."""
MAX_OBJECTS = 5
RULE_LENGTH = 7
GENERATOR_SEED = 2024
_BLOCK = 1024


@dataclass(frozen=True)
class Rulesets:
    """A benchmark in xminigrid's arrays, all uint8: ``goals`` [N, 5], ``rules`` [N, R, 7], ``init_tiles`` [N, O, 2],
    ``num_rules`` [N]."""

    goals: NDArray[np.uint8]
    rules: NDArray[np.uint8]
    init_tiles: NDArray[np.uint8]
    num_rules: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.goals)


def _candidate_block(seed: int, block: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Goals [1024, 5] and objects [1024, MAX_OBJECTS, 2], repeats among them possible."""
    generator = np.random.default_rng((seed, block))
    kinds = np.array([(tile, color) for tile in OBJECT_TILES for color in OBJECT_COLORS], np.uint8)
    drawn = generator.permuted(np.tile(np.arange(len(kinds)), (_BLOCK, 1)), axis=1)[:, :MAX_OBJECTS]
    objects = kinds[drawn]
    goal_ids = generator.choice(GENERATED_GOALS, size=_BLOCK)
    num_goal_objects = np.where(goal_ids == TILE_NEAR, 2, 1)
    num_objects = num_goal_objects + generator.integers(1, MAX_OBJECTS - num_goal_objects + 1)
    objects[np.arange(MAX_OBJECTS) >= num_objects[:, None]] = 0
    goals = np.zeros((_BLOCK, 5), np.uint8)
    goals[:, 0] = goal_ids
    goals[:, 1:3] = objects[:, 0]
    goals[:, 3:5] = np.where((goal_ids == TILE_NEAR)[:, None], objects[:, 1], 0)
    return goals, objects


def _unique_rulesets(seed: int) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """An endless stream of rulesets without duplicates (the order of the objects does not tell rulesets apart)."""
    seen: set[bytes] = set()
    block = 0
    while True:
        goals, objects = _candidate_block(seed, block)
        block += 1
        for goal, objects_of_one in zip(goals, objects, strict=True):
            identity = goal.tobytes() + b"".join(sorted(tile.tobytes() for tile in objects_of_one))
            if identity not in seen:
                seen.add(identity)
                yield goal, objects_of_one


def generate_rulesets(num_rulesets: int, seed: int = GENERATOR_SEED) -> Rulesets:
    """``num_rulesets`` distinct trivial rulesets; a longer list from the same seed starts with a shorter one.

    A ruleset has a goal among ``GENERATED_GOALS``, the goal's objects and 1 to 4 distractors (5 objects at most), all of
    different kinds. ValueError when ``num_rulesets`` is not positive.
    """
    if num_rulesets < 1:
        raise ValueError(f"num_rulesets: found {num_rulesets}, expected a positive number")
    pairs = [pair for _, pair in zip(range(num_rulesets), _unique_rulesets(seed), strict=False)]
    return Rulesets(
        goals=np.stack([goal for goal, _ in pairs]),
        rules=np.zeros((num_rulesets, 1, RULE_LENGTH), np.uint8),
        init_tiles=np.stack([objects for _, objects in pairs]),
        num_rules=np.zeros(num_rulesets, np.uint8),
    )


def load_rulesets(path: Path, seed: int = GENERATOR_SEED) -> Rulesets:
    """Read a benchmark file of xminigrid (bz2 pickle of goals, rules, init_tiles, num_rules), shuffled by ``seed``.

    Shuffled, because the place in the list decides the split and published benchmarks are sorted. Only open files that you
    trust: a pickle can run code. ValueError when the file does not hold a benchmark.
    """
    from lamflow.envs.jax_setup import configure_jax

    configure_jax()
    from xminigrid.benchmarks import load_benchmark_from_path

    try:
        benchmark = load_benchmark_from_path(str(path))
    except (OSError, KeyError, EOFError, ValueError) as error:
        raise ValueError(f"{path}: no XLand-MiniGrid benchmark file ({error}); expected a bz2 pickle") from error
    order = np.random.default_rng(seed).permutation(len(benchmark.goals))
    goals, rules, init_tiles, num_rules = (
        np.asarray(array, np.uint8)[order]
        for array in (benchmark.goals, benchmark.rules, benchmark.init_tiles, benchmark.num_rules)
    )
    return Rulesets(goals, rules, init_tiles, num_rules)


def split_bounds(num_rulesets: int) -> dict[str, range]:
    """Ruleset indices of each split: the first 80% train, the next 10% validation, the rest test.

    ValueError below 10 rulesets, where a split would be empty.
    """
    if num_rulesets < 10:
        raise ValueError(f"num_rulesets: found {num_rulesets}, expected at least 10 so that no split is empty")
    first, second = num_rulesets * 8 // 10, num_rulesets * 9 // 10
    return {"train": range(first), "validation": range(first, second), "test": range(second, num_rulesets)}
