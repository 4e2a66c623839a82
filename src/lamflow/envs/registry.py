"""Vector environments; a simulator is imported when one of its environments is made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from lamflow.envs.families import DEFAULT_NUM_RULESETS, family_of
from lamflow.envs.interface import VectorEnvironment
from lamflow.envs.spec import EnvironmentSpec

Backend = Literal["procgen", "envpool"]


def make_vector_environment(
    spec: EnvironmentSpec,
    num_envs: int,
    *,
    num_rulesets: int = DEFAULT_NUM_RULESETS,
    level_stream: Iterator[int] | None = None,
    num_threads: int = 0,
    backend: Backend = "procgen",
    levels: range | None = None,
) -> VectorEnvironment:
    """``num_envs`` copies of an environment.

    ``num_rulesets`` must be what the levels were drawn with (it is ignored where the task is fixed). ``level_stream`` gives
    the levels of later episodes; without it a slot repeats its level. ``num_threads``: threads of a simulator that has its
    own (Procgen). ``backend``: who simulates Procgen; "envpool" draws from ``levels`` by itself (see ``envpool_vector``), and no
    other takes them. ValueError for a backend that is not installed, and what a backend cannot do.
    """
    if (backend == "envpool") != (levels is not None) or (levels is not None and level_stream is not None):
        raise ValueError(
            f"{spec.name}: found backend {backend!r}, levels {levels} and {'a' if level_stream else 'no'} level stream, expected levels "
            "with the backend envpool, which takes no stream, and no levels with the others"
        )
    return family_of(spec).make_vector_environment(
        spec,
        num_envs,
        num_rulesets=num_rulesets,
        level_stream=level_stream,
        num_threads=num_threads,
        levels=levels,
    )
