"""The rule ``plot_episode_film``: the demonstrator and agents of a few methods on one test level."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lamflow.data.label_budgets import ALL_LABELS, NO_LABELS, LabelBudget, LabelCount
from lamflow.data.store import UNKNOWN_LEVEL, EpisodeArrays, EpisodeStore, array_of
from lamflow.envs.families import DEFAULT_NUM_RULESETS, family_of
from lamflow.envs.goals import describe_goal
from lamflow.envs.interface import Episode
from lamflow.envs.levels import draw_levels
from lamflow.envs.registry import make_vector_environment
from lamflow.envs.rendering import render_frame
from lamflow.envs.spec import EnvironmentSpec
from lamflow.envs.videos import render_video, video_module
from lamflow.evaluation.recording import record_agent, replay
from lamflow.methods.acting import Acts
from lamflow.methods.jobs import Job
from lamflow.methods.settings import MethodSettings, method_settings
from lamflow.plots.episode_film import EpisodeFilm, write_episode_film
from lamflow.plots.style import method_styles
from lamflow.policies.views import agent_in
from lamflow.provenance import note_sources, record_provenance
from lamflow.stages.code import methods_code

MOST_STEPS = 100
"""Steps that are shown of an episode: agents that are lost wander on up to the step limit."""
SIDE = 288
"""Side of a picture in pixels."""
MOST_PIXEL_STEPS, PIXEL_SIDE, PIXEL_FRAME_MS = 300, 256, 100
"""The same for Procgen, whose steps are shorter; milliseconds that a picture of it is shown."""


def plot_episode_film(
    *,
    environment: Mapping[str, Any],
    agents: Sequence[Mapping[str, Any]],
    shown_labels: LabelCount,
    action_selection: Literal["argmax", "sample"],
    seed: int,
    episodes: Path | str,
    files: Sequence[Path | str],
    output: Path | str,
) -> None:
    """Write a GIF of a demonstrator's episode in the test store ``episodes`` and of agents on the same level (on another one,
    where the store does not know its levels). Of an environment that is made of others, the first of those that the store joins is played.

    ``agents``: ``method``, ``settings``, ``labels`` and ``label_draws`` of each; ``files``: what each of them needs
    beside episodes, in the order of its method's ``needs``, one agent after the other; they hold a member for each of the agent's labels
    and draws. Shown is the first draw of ``shown_labels``.
    """
    started = time.monotonic()
    learnt = EnvironmentSpec.from_facts(environment)
    stores = EpisodeStore.open(episodes, env=learnt.name)
    store, specs = stores.simulated[0], [member.spec for member in stores.members] or [learnt]
    spec = specs[0]
    num_rulesets = store.attributes.get("num_rulesets") or DEFAULT_NUM_RULESETS
    demonstrated = shown_episode(_unread(store))
    level = demonstrated.level_id
    if level == UNKNOWN_LEVEL:
        level = int(draw_levels(spec, "test", 1, seed)[0])
    simulator = make_vector_environment(spec, 1, num_rulesets=num_rulesets)
    remaining, methods = iter(files), [method_settings(agent["settings"]) for agent in agents]
    code = methods_code(__name__, methods, "agent", specs)
    note_sources(code)
    task = demonstrated.observations.get("task")
    goal = describe_goal(task[0]) if task is not None and spec.is_grid_world else ""
    shown_goal = f"goal: {goal}" if goal else "on another level" if level != demonstrated.level_id else ""
    films = {f"demonstrator\n{shown_goal or (spec.name if spec != learnt else '')}".strip(): demonstrated}
    precision = []
    for agent, method in zip(agents, methods, strict=True):
        inputs = _next_files(method, remaining)
        job = Job(agent["method"], learnt, seed, inputs, agent["labels"], agent["label_draws"])
        acting: Acts = method.build()
        members, player = acting.agent(job, action_selection)
        precision.append(player.precision)
        budgets = [member.labels for member in members]
        index = budgets.index(str(shown_labels)) if str(shown_labels) in budgets else 0
        title = _title(agent["method"], members[index].labels)
        films[title] = record_agent(agent_in(player, learnt, spec), index, simulator, level)
    if spec.view == "pixels":
        # The frames of another data set may have been drawn by another build of the simulator: they are shown as they are.
        repeatable, has_videos = "expert_sha256" in store.attributes, video_module(spec) is not None
        shown = [
            _video(title, part, spec, has_videos and (part is not demonstrated or repeatable))
            for title, part in films.items()
        ]
        write_episode_film(shown, Path(output), side=PIXEL_SIDE, frame_ms=PIXEL_FRAME_MS)
    else:
        shown = [_film(title, part, spec, num_rulesets) for title, part in films.items()]
        write_episode_film(shown, Path(output), side=SIDE)
    record_provenance(
        Path(output),
        code=code,
        settings={"agents": [dict(agent) for agent in agents], "level": level, "labels": shown_labels},
        inputs={"episodes": Path(episodes)} | {str(path): Path(path) for path in files},
        seed=seed,
        wall_seconds=time.monotonic() - started,
        precision=precision,
    )


def _next_files(method: MethodSettings, files: Iterator[Path | str]) -> dict[str, Path]:
    """What a method's agent is made of, by artefact."""
    needed = [artefact for artefact in method.needs("agent") or () if artefact != "episodes"]
    found = dict(zip(needed, map(Path, islice(files, len(needed))), strict=False))
    assert len(found) == len(needed), f"files: found {len(found)} for {method}, expected {', '.join(needed)}"
    return found


def _unread(store: EpisodeStore) -> EpisodeArrays:
    """The store's arrays, of which those that hold frames are read where they are sliced: they may not fit into memory."""
    read = store.load(frames=False)
    return replace(read, observations={**read.observations, read.main: store.array(array_of(read.main))})


def shown_episode(arrays: EpisodeArrays) -> Episode:
    """The episode of median length among those that the demonstrator solved (among all, if it solved none)."""
    starts = arrays.episode_starts
    lengths = np.diff(starts, append=arrays.num_rows)
    solved = np.logical_or.reduceat(arrays.terminated, starts) & (np.add.reduceat(arrays.rewards, starts) > 0)
    candidates = np.flatnonzero(solved) if solved.any() else np.arange(len(starts))
    index = candidates[np.argsort(lengths[candidates], kind="stable")[len(candidates) // 2]]
    rows = slice(starts[index], starts[index] + lengths[index])
    acted = np.flatnonzero(arrays.acted[rows]) + starts[index]
    return Episode(
        observations={name: part[rows] for name, part in arrays.observations.items()},
        actions=arrays.actions[acted],
        rewards=arrays.rewards[acted],
        terminated=bool(arrays.terminated[rows].any()),
        truncated=bool(arrays.truncated[rows].any()),
        level_id=int(arrays.level_seeds[index]),
    )


def _title(method: str, labels: str) -> str:
    name = method_styles([method])[method].label.split(" (")[0]
    in_trajectories = LabelBudget.parse(labels).unit == "trajectories"
    budgets = {ALL_LABELS: "all labels", NO_LABELS: "no labels"}
    return f"{name}\n{budgets.get(labels, labels if in_trajectories else f'{labels} labels')}"


def _film(title: str, episode: Episode, spec: EnvironmentSpec, num_rulesets: int) -> EpisodeFilm:
    """The episode's first ``MOST_STEPS`` steps, seen from above where the simulator has such a view."""
    shown = family_of(spec).from_above(spec)
    if shown != spec:
        simulator = make_vector_environment(shown, 1, num_rulesets=num_rulesets)
        episode = replay(episode.actions, simulator, episode.level_id)
    solved = episode.terminated and episode.total_reward > 0
    tile_size = max(8, SIDE // max(shown.frame_shape[:2]))
    return EpisodeFilm(
        title=title,
        frames=[
            render_frame(frame, view=shown.view, tile_size=tile_size)
            for frame in episode.observations[spec.main][: MOST_STEPS + 1]
        ],
        rewards=episode.rewards[:MOST_STEPS].tolist(),
        outcome=f"{'solved after' if solved else 'not solved in'} {episode.length} steps",
    )


def _video(title: str, episode: Episode, spec: EnvironmentSpec, repeatable: bool) -> EpisodeFilm:
    """The first ``MOST_PIXEL_STEPS`` steps of a Procgen episode in the simulator's large pictures, if it can repeat it."""
    length = min(episode.length, MOST_PIXEL_STEPS)
    if repeatable:
        frames = list(
            render_video(
                spec,
                episode.level_id,
                episode.actions[:length],
                side=PIXEL_SIDE,
                frames=episode.observations[spec.main][:length],
            )
        )
    else:
        tile_size = max(1, PIXEL_SIDE // spec.frame_shape[0])
        frames = [
            render_frame(frame, view=spec.view, tile_size=tile_size)
            for frame in episode.observations[spec.main][:length]
        ]
    return EpisodeFilm(
        title=title,
        frames=frames,
        rewards=episode.rewards[:length].tolist(),
        outcome=f"return {episode.total_reward:.2f} after {episode.length} steps",
    )
