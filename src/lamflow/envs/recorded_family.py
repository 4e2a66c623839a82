"""Recordings of an environment that nobody plays. A level is the place of an episode among those of the source."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lamflow.envs.interface import Split, VectorEnvironment
from lamflow.envs.spec import EnvironmentSpec

ROLLOUT_SLOTS = 1


def draw_levels(
    spec: EnvironmentSpec,
    split: Split,
    count: int,
    generator: np.random.Generator,
    *,
    num_rulesets: int,
    all_levels: bool,
) -> NDArray[np.int64]:
    """ValueError: nobody plays them."""
    raise _nobody_plays(spec)


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
    """ValueError: nobody plays them."""
    raise _nobody_plays(spec)


def _nobody_plays(spec: EnvironmentSpec) -> ValueError:
    return ValueError(
        f"{spec.name}: found an environment of kind recorded, which nobody can play: there are its recordings and no simulator. Where "
        "there is one, give the environment the kind gymnasium"
    )
