"""XLand-MiniGrid. A level id is ``ruleset index << 32 | reset seed``.

Where the task is fixed (MiniGrid), the id is the reset seed, and a stable hash of the level's initial state (grid, agent's
position and direction) decides its split: 80% train, 10% validation, 10% test. Small grids have few layouts, so seeds alone
would put the same level into several splits. With rulesets (XLand), the ruleset decides: splits share no ruleset.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lamflow.envs.interface import Split, VectorEnvironment
from lamflow.envs.rulesets import split_bounds
from lamflow.envs.spec import EnvironmentSpec
from lamflow.envs.xland import SEED_BITS, XlandSimulator, grid_sides, make_simulator
from lamflow.envs.xland_vector import XlandVectorEnvironment
from lamflow.envs.xland_views import whole_grid_twin

ROLLOUT_SLOTS = 4096
"""JAX steps many small environments together for the price of few."""
_CANDIDATES = 1024


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
    spec: EnvironmentSpec,
    split: Split,
    count: int,
    generator: np.random.Generator,
    *,
    num_rulesets: int,
    all_levels: bool,
) -> NDArray[np.int64]:
    """Rulesets of the split and seeds, or seeds whose levels fall into the split; ``all_levels`` is for Procgen."""
    if spec.uses_rulesets:
        bounds = split_bounds(num_rulesets)[split]
        draws = generator.integers(2**31, size=(count, 2))
        return (bounds.start + draws[:, 0] % len(bounds)) << SEED_BITS | draws[:, 1]
    simulator = make_simulator(spec, num_rulesets)
    kept: list[int] = []
    while len(kept) < count:
        candidates = generator.integers(2**31, size=_CANDIDATES)
        digests = initial_state_digests(simulator, candidates)
        kept.extend(
            int(level) for level, digest in zip(candidates, digests, strict=True) if split_of_digest(digest) == split
        )
    return np.array(kept[:count], np.int64)


def from_above(spec: EnvironmentSpec) -> EnvironmentSpec:
    """The whole grid."""
    return spec if spec.view == "full" else whole_grid_twin(spec, *grid_sides(spec))


def make_vector_environment(
    spec: EnvironmentSpec,
    num_envs: int,
    *,
    num_rulesets: int,
    level_stream: Iterator[int] | None,
    num_threads: int,
    levels: range | None,
) -> VectorEnvironment:
    """Stepped by JAX, whose threads are the process's; ValueError for the backend envpool, which has no XLand."""
    if levels is not None:
        raise ValueError(f"{spec.name}: found the backend envpool, which simulates Procgen only; leave the backend out")
    return XlandVectorEnvironment(make_simulator(spec, num_rulesets), num_envs, level_stream)
