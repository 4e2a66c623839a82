"""What a family of environments does in its own way: a module each, ``lamflow.envs.<family>_family``, found by name.

It is imported when one of its environments is used, so another family is one more file, and code digests of a job hold the family that
the job plays, and no other.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from lamflow.envs.interface import Split, VectorEnvironment
from lamflow.envs.spec import EnvironmentSpec

DEFAULT_NUM_RULESETS = 1000
"""XLand's, over all splits."""


class Family(Protocol):
    """The names of a family's module. ``ROLLOUT_SLOTS``: episodes that are best played at once by an agent."""

    ROLLOUT_SLOTS: int

    def draw_levels(
        self,
        spec: EnvironmentSpec,
        split: Split,
        count: int,
        generator: np.random.Generator,
        *,
        num_rulesets: int,
        all_levels: bool,
    ) -> NDArray[np.int64]:
        """``count`` level ids int64 of a split; see ``lamflow.envs.levels.draw_levels``."""
        ...

    def from_above(self, spec: EnvironmentSpec) -> EnvironmentSpec:
        """The environment whose frames show people most of the same levels, played by the same actions; by default itself."""
        ...

    def make_vector_environment(
        self,
        spec: EnvironmentSpec,
        num_envs: int,
        *,
        num_rulesets: int,
        level_stream: Iterator[int] | None,
        num_threads: int,
        levels: range | None,
    ) -> VectorEnvironment:
        """``num_envs`` copies of an environment, of the backend that takes ``levels`` where there are some; see
        ``lamflow.envs.registry.make_vector_environment``."""
        ...


def module_of(spec: EnvironmentSpec) -> str:
    """The name of the module of an environment's family."""
    return f"lamflow.envs.{spec.family}_family"


def family_of(spec: EnvironmentSpec) -> Family:
    """The module of an environment's family, imported."""
    return cast(Family, import_module(module_of(spec)))
