"""Procgen, by its own simulator or by EnvPool's. A level id is Procgen's level seed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lamflow.envs.interface import Split, VectorEnvironment
from lamflow.envs.procgen import NUM_LEVELS, ProcgenVectorEnvironment
from lamflow.envs.spec import EnvironmentSpec

ROLLOUT_SLOTS = 512
"""A round of network calls costs a fixed time, so fewer slots are slower."""
PROCGEN_RANGES: dict[Split, range] = {
    "train": range(0, 1_717_986_918),
    "validation": range(1_717_986_918, 1_932_735_283),
    "test": range(1_932_735_283, NUM_LEVELS),
}
"""Level seeds by split: 80%, 10% and 10% of all."""


def draw_levels(
    spec: EnvironmentSpec,
    split: Split,
    count: int,
    generator: np.random.Generator,
    *,
    num_rulesets: int,
    all_levels: bool,
) -> NDArray[np.int64]:
    """Uniformly from the split's range, or from all levels."""
    bounds = range(NUM_LEVELS) if all_levels else PROCGEN_RANGES[split]
    return generator.integers(bounds.start, bounds.stop, size=count)


def from_above(spec: EnvironmentSpec) -> EnvironmentSpec:
    """There is one view."""
    return spec


def make_vector_environment(
    spec: EnvironmentSpec,
    num_envs: int,
    *,
    num_rulesets: int,
    level_stream: Iterator[int] | None,
    num_threads: int,
    levels: range | None,
) -> VectorEnvironment:
    """``levels`` come with the backend envpool, and with no other."""
    if levels is not None:
        from lamflow.envs.envpool_vector import EnvPoolVectorEnvironment

        return EnvPoolVectorEnvironment(spec, num_envs, levels=levels, num_threads=num_threads)
    return ProcgenVectorEnvironment(spec, num_envs, level_stream, num_threads=num_threads)
