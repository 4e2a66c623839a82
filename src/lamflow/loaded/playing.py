"""Rollouts of a loaded agent, in the environment that it learnt or in one like it."""

from __future__ import annotations

from lamflow.envs.described import described
from lamflow.envs.gymnasium_settings import GymnasiumSettings, PolicyDemonstratorSettings
from lamflow.envs.levels import draw_levels
from lamflow.envs.presets import preset, presets
from lamflow.envs.spec import EnvironmentSpec
from lamflow.evaluation.rollouts import RolloutResult
from lamflow.loaded.agents import LoadedAgent
from lamflow.policies.views import agent_in
from lamflow.rl.demonstrator_settings import CollectionSettings
from lamflow.stages.evaluate_agents import LEVEL_STREAM, play_levels

NOBODY = PolicyDemonstratorSettings(path="builtins:object")
"""Nothing is demonstrated, so an environment needs no more than to be played."""


def environment_of(name: str, agent: LoadedAgent) -> EnvironmentSpec:
    """The environment of lamflow's, of Gymnasium's id, or of the agent's own name; ValueError where the agent cannot act in it."""
    if name in (agent.spec.name, agent.spec.own.get("id")):
        found = agent.spec
    elif name in presets():
        found = preset(name)
    else:
        found = described(GymnasiumSettings(id=name, demonstrator=NOBODY), name)
    _check_fits(found, agent.spec)
    return found


def _check_fits(played: EnvironmentSpec, learnt: EnvironmentSpec) -> None:
    parts = {played.main if name == learnt.main else name: part for name, part in learnt.observation.items()}
    for name, part in parts.items():
        if played.observation.get(name) != part:
            found = {each: f"{other.kind} {list(other.shape)}" for each, other in played.observation.items()}
            raise ValueError(
                f"{played.name}: found observations {found}, and the agent learnt from {name!r}, {part.kind} {list(part.shape)}, of "
                f"{learnt.name}"
            )
    if played.action != learnt.action:
        raise ValueError(
            f"{played.name}: found actions {played.action}, and the agent learnt {learnt.action} of {learnt.name}"
        )


def play_agent(
    agent: LoadedAgent,
    played: EnvironmentSpec,
    *,
    episodes: int,
    seed: int | None = None,
    num_rulesets: int | None = None,
) -> RolloutResult:
    """One episode of the agent on each of ``episodes`` test levels of the environment ``played``: those that the workflow plays with the
    agent's seed, unless there is another. ``num_rulesets``: of XLand, those of the experiment."""
    collection = CollectionSettings.model_validate({"num_rulesets": num_rulesets} if num_rulesets else {})
    stream = (agent.seed if seed is None else seed) + LEVEL_STREAM
    levels = draw_levels(played, "test", episodes, stream, collection.num_rulesets)
    return play_levels(played, agent_in(agent.agent, agent.spec, played), levels, collection)


def summary(name: str, result: RolloutResult) -> str:
    """The returns of rollouts, a line per episode, and their mean."""
    episodes = zip(result.level_ids.tolist(), result.returns.tolist(), result.lengths.tolist(), strict=True)
    lines = [f"level {level}: return {total:.6g}, {length} steps" for level, total, length in episodes]
    mean, successes = float(result.returns.mean()), float(result.success.mean())
    return "\n".join([*lines, f"{name}: {len(lines)} episodes, mean return {mean:.6g}, successes {successes:.3g}"])
