"""Vector environments by name; a simulator is imported when one of its environments is made."""

from __future__ import annotations

from collections.abc import Iterator

from lamflow.catalogue import environment_spec
from lamflow.envs.interface import VectorEnvironment
from lamflow.envs.rulesets import DEFAULT_NUM_RULESETS


def make_vector_environment(
    name: str,
    num_envs: int,
    *,
    num_rulesets: int = DEFAULT_NUM_RULESETS,
    level_stream: Iterator[int] | None = None,
    num_threads: int = 0,
) -> VectorEnvironment:
    """``num_envs`` copies of the environment ``name``.

    ``num_rulesets`` must be what the levels were drawn with (it is ignored where the task is fixed). ``level_stream`` gives
    the levels of later episodes; without it a slot repeats its level. ``num_threads``: threads of a simulator that has its
    own (Procgen). ValueError for an unknown name.
    """
    spec = environment_spec(name)
    if spec.family == "procgen":
        from lamflow.envs.procgen import ProcgenVectorEnvironment

        return ProcgenVectorEnvironment(spec, num_envs, level_stream, num_threads=num_threads)
    from lamflow.envs.xland import make_simulator
    from lamflow.envs.xland_vector import XlandVectorEnvironment

    return XlandVectorEnvironment(make_simulator(name, num_rulesets), num_envs, level_stream)
