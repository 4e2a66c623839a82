"""The rule ``plot_episode_film``: the demonstrator and agents of a few methods on one test level."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lamflow.catalogue import ENVIRONMENTS, EnvironmentSpec, environment_spec
from lamflow.config import LabelCount
from lamflow.data.store import EpisodeArrays, EpisodeStore
from lamflow.envs.goals import describe_goal
from lamflow.envs.interface import Episode
from lamflow.envs.registry import DEFAULT_NUM_RULESETS, make_vector_environment
from lamflow.envs.rendering import render_frame
from lamflow.evaluation.agents import load_agent
from lamflow.evaluation.recording import record_agent, replay
from lamflow.plots.episode_film import EpisodeFilm, write_episode_film
from lamflow.plots.style import method_styles
from lamflow.policies.members import ALL_LABELS, NO_LABELS, Member, label_members
from lamflow.provenance import record_provenance

MOST_STEPS = 100
"""Steps that are shown of an episode: agents that are lost wander on up to the step limit."""
SIDE = 288
"""Side of a picture in pixels."""


def plot_episode_film(
    *,
    env: str,
    agents: Sequence[Mapping[str, Any]],
    labels: Sequence[LabelCount],
    label_draws: int,
    shown_labels: LabelCount,
    action_selection: Literal["argmax", "sample"],
    seed: int,
    episodes: Path | str,
    policies: Sequence[Path | str],
    decoders: Sequence[Path | str],
    output: Path | str,
) -> None:
    """Write a GIF of a demonstrator's episode in the test store ``episodes`` and of agents on the same level.

    ``agents``: ``method`` and ``settings`` of each; ``policies``: the files of those that are not random, in the same order, and
    ``decoders`` of the latent ones; they hold a member for each of ``labels`` and ``label_draws``. Shown is the first
    draw of ``shown_labels``.
    """
    started = time.monotonic()
    store = EpisodeStore.open(episodes, env=env)
    num_rulesets = store.attributes.get("num_rulesets") or DEFAULT_NUM_RULESETS
    demonstrated = shown_episode(store.load())
    environment = make_vector_environment(env, 1, num_rulesets=num_rulesets)
    policy_files, decoder_files = iter(policies), iter(decoders)
    goal = describe_goal(demonstrated.task[0]) if demonstrated.task.shape[1] else ""
    films = {f"demonstrator\ngoal: {goal}" if goal else "demonstrator": demonstrated}
    for agent in agents:
        members, player = load_agent(
            spec=environment_spec(env),
            method=agent["method"],
            settings=agent["settings"],
            label_budgets=label_members(labels, label_draws),
            policy=_next_file(policy_files, agent["settings"]["kind"] != "random"),
            decoders=_next_file(decoder_files, agent["settings"]["kind"] == "latent"),
            action_selection=action_selection,
            seed=seed,
        )
        wanted = Member(str(shown_labels), 0)
        index = members.index(wanted) if wanted in members else 0
        title = _title(agent["method"], members[index].labels)
        films[title] = record_agent(player, index, environment, demonstrated.level_id)
    write_episode_film(
        [_film(title, part, env, num_rulesets) for title, part in films.items()], Path(output), side=SIDE
    )
    record_provenance(
        Path(output),
        stage=__name__,
        settings={"agents": [dict(agent) for agent in agents], "level": demonstrated.level_id, "labels": shown_labels},
        inputs={"episodes": Path(episodes)} | {str(path): Path(path) for path in [*policies, *decoders]},
        seed=seed,
        wall_seconds=time.monotonic() - started,
    )


def _next_file(files: Iterator[Path | str], needed: bool) -> Path | None:
    return Path(next(files)) if needed else None


def shown_episode(arrays: EpisodeArrays) -> Episode:
    """The episode of median length among those that the demonstrator solved (among all, if it solved none)."""
    starts = arrays.episode_starts
    lengths = np.diff(starts, append=arrays.num_rows)
    solved = np.logical_or.reduceat(arrays.terminated, starts) & (np.add.reduceat(arrays.rewards, starts) > 0)
    candidates = np.flatnonzero(solved) if solved.any() else np.arange(len(starts))
    index = candidates[np.argsort(lengths[candidates], kind="stable")[len(candidates) // 2]]
    rows = slice(starts[index], starts[index] + lengths[index])
    acted = np.flatnonzero(arrays.actions[rows] >= 0) + starts[index]
    return Episode(
        frames=arrays.observations[rows],
        proprioception=arrays.proprioception[rows],
        task=arrays.task[rows],
        actions=arrays.actions[acted],
        rewards=arrays.rewards[acted],
        terminated=bool(arrays.terminated[rows].any()),
        truncated=bool(arrays.truncated[rows].any()),
        level_id=int(arrays.level_seeds[index]),
    )


def _title(method: str, labels: str) -> str:
    name = method_styles([method])[method].label.split(" (")[0]
    budget = {ALL_LABELS: "all labels", NO_LABELS: "no labels"}
    return f"{name}\n{budget.get(labels, labels if 'trajectories' in labels else f'{labels} labels')}"


def _film(title: str, episode: Episode, env: str, num_rulesets: int) -> EpisodeFilm:
    """The episode's first ``MOST_STEPS`` steps, seen from above where the simulator has such a view."""
    spec = _view_from_above(environment_spec(env))
    if spec.name != env:
        environment = make_vector_environment(spec.name, 1, num_rulesets=num_rulesets)
        episode = replay(episode.actions, environment, episode.level_id)
    solved = episode.terminated and episode.total_reward > 0
    tile_size = max(8, SIDE // max(spec.frame_shape[:2]))
    return EpisodeFilm(
        title=title,
        frames=[render_frame(frame, view=spec.view, tile_size=tile_size) for frame in episode.frames[: MOST_STEPS + 1]],
        rewards=episode.rewards[:MOST_STEPS].tolist(),
        outcome=f"{'solved after' if solved else 'not solved in'} {episode.length} steps",
    )


def _view_from_above(spec: EnvironmentSpec) -> EnvironmentSpec:
    """The full view of the same simulator, or the environment itself where there is none."""
    same = (
        other for other in ENVIRONMENTS.values() if other.simulator_id == spec.simulator_id and other.view == "full"
    )
    return spec if spec.view == "full" else next(same, spec)
