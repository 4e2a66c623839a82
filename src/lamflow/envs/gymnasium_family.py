"""Any environment of Gymnasium. A level id is the seed of ``reset``; splits are ranges of seeds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lamflow.envs.gymnasium_vector import GymnasiumVectorEnvironment
from lamflow.envs.interface import Split, VectorEnvironment
from lamflow.envs.spec import EnvironmentSpec

ROLLOUT_SLOTS = 32
"""Each is an environment of its own, stepped one after the other: more save calls of the network, and cost memory."""
SEED_RANGES: dict[Split, range] = {
    "train": range(0, 1_600_000_000),
    "validation": range(1_600_000_000, 1_800_000_000),
    "test": range(1_800_000_000, 2_000_000_000),
}
"""80%, 10% and 10% of the seeds. Where few starts are possible, different seeds may give equal episodes."""


def draw_levels(
    spec: EnvironmentSpec,
    split: Split,
    count: int,
    generator: np.random.Generator,
    *,
    num_rulesets: int,
    all_levels: bool,
) -> NDArray[np.int64]:
    """Uniformly from the split's range."""
    bounds = SEED_RANGES[split]
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
    """Stepped in this process; ValueError for the backend envpool."""
    if levels is not None:
        raise ValueError(f"{spec.name}: found the backend envpool, which simulates Procgen only; leave the backend out")
    return GymnasiumVectorEnvironment(spec, num_envs, level_stream)
