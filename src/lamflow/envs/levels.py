"""Levels and their splits. A level id is an int64: ``ruleset index << 32 | reset seed``.

Where the task is fixed (MiniGrid), the id is the reset seed, and a stable hash of the level's initial state (grid, agent's
position and direction) decides its split: 80% train, 10% validation, 10% test. Small grids have few layouts, so seeds alone
would put the same level into several splits. With rulesets (XLand), the ruleset decides: splits share no ruleset.

A Procgen level id is Procgen's level seed, and ranges of seeds are the splits (``PROCGEN_RANGES``): 80%, 10% and 10% of all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from lamflow.catalogue import environment_spec
from lamflow.envs.procgen import NUM_LEVELS
from lamflow.envs.rulesets import DEFAULT_NUM_RULESETS, split_bounds

if TYPE_CHECKING:
    from lamflow.envs.xland import XlandSimulator

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
_CANDIDATES = 1024
PROCGEN_RANGES: dict[Split, range] = {
    "train": range(0, 1_717_986_918),
    "validation": range(1_717_986_918, 1_932_735_283),
    "test": range(1_932_735_283, NUM_LEVELS),
}
"""Level seeds of Procgen by split."""


def initial_state_digests(simulator: XlandSimulator, level_ids: NDArray[np.int64]) -> list[bytes]:
    """A digest of each level's initial state (grid, position, direction, goal): equal only where the episodes are the same."""
    state = simulator.reset_levels(level_ids).state
    parts = [
        np.asarray(part).astype(np.uint8).reshape(len(level_ids), -1)
        for part in (state.grid, state.agent.position, state.agent.direction, state.goal_encoding)
    ]
    return [hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in np.concatenate(parts, axis=1)]


def split_of_digest(digest: bytes) -> Split:
    """The split that a digest falls into: 80% train, 10% validation, 10% test."""
    bucket = int.from_bytes(digest, "little") % 10
    return "train" if bucket < 8 else "validation" if bucket == 8 else "test"


def draw_levels(
    env: str,
    split: Split,
    count: int,
    seed: int,
    num_rulesets: int = DEFAULT_NUM_RULESETS,
    *,
    all_levels: bool = False,
) -> NDArray[np.int64]:
    """``count`` level ids int64 of a split, the same for the same arguments; a longer draw starts with a shorter one.

    Repeats are possible (EmptyRandom has only some hundred levels). ``all_levels``: draw from all of Procgen's levels
    whatever the split, as LAPO does (``num_levels: 0``); splits then differ by their draws only. ValueError for an unknown
    environment or split.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; known: {', '.join(SPLITS)}")
    spec = environment_spec(env)
    generator = np.random.default_rng((seed, SPLITS.index(split)))
    if spec.family == "procgen":
        bounds = range(NUM_LEVELS) if all_levels else PROCGEN_RANGES[split]
        return generator.integers(bounds.start, bounds.stop, size=count)
    if spec.uses_rulesets:
        from lamflow.envs.xland import SEED_BITS

        bounds = split_bounds(num_rulesets)[split]
        draws = generator.integers(2**31, size=(count, 2))
        return (bounds.start + draws[:, 0] % len(bounds)) << SEED_BITS | draws[:, 1]
    from lamflow.envs.xland import make_simulator

    simulator = make_simulator(env, num_rulesets)
    kept: list[int] = []
    while len(kept) < count:
        candidates = generator.integers(2**31, size=_CANDIDATES)
        digests = initial_state_digests(simulator, candidates)
        kept.extend(
            int(level) for level, digest in zip(candidates, digests, strict=True) if split_of_digest(digest) == split
        )
    return np.array(kept[:count], np.int64)


class LevelStream(Iterator[int]):
    """Endless levels of a split, drawn in chunks (see ``draw_levels``); ``position`` is what a checkpoint needs to go on from."""

    _CHUNK = 4096

    def __init__(
        self,
        env: str,
        split: Split,
        seed: int,
        position: int = 0,
        *,
        num_rulesets: int = DEFAULT_NUM_RULESETS,
        all_levels: bool = False,
    ) -> None:
        self.position = position
        self._draw = lambda chunk: draw_levels(
            env, split, self._CHUNK, seed + 7919 * chunk, num_rulesets, all_levels=all_levels
        )
        self._chunk = -1
        self._levels = np.zeros(0, np.int64)

    def __next__(self) -> int:
        chunk, offset = divmod(self.position, self._CHUNK)
        if chunk != self._chunk:
            self._levels, self._chunk = self._draw(chunk), chunk
        self.position += 1
        return int(self._levels[offset])
