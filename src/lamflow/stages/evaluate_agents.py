"""Stop 7: rollouts of one method's agents on test levels, and on those of the demonstrations where that is asked for."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lamflow.atomic_files import write_text
from lamflow.data.label_budgets import LabelCount
from lamflow.data.store import EpisodeStore
from lamflow.envs.families import family_of
from lamflow.envs.interface import VectorEnvironment
from lamflow.envs.levels import draw_levels
from lamflow.envs.registry import make_vector_environment
from lamflow.envs.spec import EnvironmentSpec
from lamflow.evaluation.columns import PART, RETURNS_COLUMNS
from lamflow.evaluation.csv_text import csv_text
from lamflow.evaluation.references import reference_returns
from lamflow.evaluation.rollouts import RolloutResult, roll_out
from lamflow.evaluation.settings import EvaluationSettings, SplitPlayed
from lamflow.methods.acting import Acts
from lamflow.methods.jobs import Job
from lamflow.methods.settings import method_settings
from lamflow.policies.agents import Agent
from lamflow.policies.members import LabelDraws, Member
from lamflow.policies.views import agent_in
from lamflow.provenance import note_sources, record_provenance
from lamflow.rl.demonstrator_settings import CollectionSettings
from lamflow.stages.code import method_code
from lamflow.training.precision import default_device

LEVEL_STREAM = 7_000_003
"""Offset of the seed that draws test levels: each seed plays its own, the same for all methods."""


def evaluate_agents(
    *,
    environment: Mapping[str, Any],
    method: str,
    settings: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    collection: Mapping[str, Any],
    labels: Sequence[LabelCount],
    label_draws: LabelDraws,
    seed: int,
    episodes: Path | str,
    policy: Path | str | None,
    decoders: Path | str | None,
    output: Path | str,
    online_agent: Path | str | None = None,
    train: Path | str | None = None,
) -> None:
    """Let every agent of ``method`` (one a label count and draw) play ``evaluation.episodes`` levels of each of ``evaluation.splits``; one
    row an episode.

    Levels of the train split are those of the episodes in ``train``, each equally often, or any of the split where the store does not know
    them. The agents begin anew for each split, so the returns of one do not depend on whether others are played.
    ``policy``, ``decoders``, ``online_agent``: the method's files, of which its settings say which it needs. The reference returns of
    random and of the expert are those of the test store ``episodes``. Imported data may have none: then they are the environment's
    published bounds (min, max) of Cobbe et al.; ValueError where there are none either.

    Of an environment that is made of others, the agents play each of those that the test store joins, all on as many levels of its own; in
    the rows they are named ``<environment>/<other>``.
    """
    started = time.monotonic()
    spec = EnvironmentSpec.from_facts(environment)
    typed = method_settings(settings)
    rollouts = EvaluationSettings.model_validate(evaluation)
    stores = EpisodeStore.open(episodes, env=spec.name)
    given = {"episodes": episodes, "policy": policy, "decoders": decoders, "online_agent": online_agent, "train": train}
    inputs = {name: Path(path) for name, path in given.items() if path is not None}
    played = [store.spec for store in stores.members] or [spec]
    code = method_code(__name__, typed, "agent", played)
    note_sources(code)
    references = [reference_returns(*each) for each in zip(stores.simulated, played, strict=True)]
    player: Acts = typed.build()
    job, levels = Job(method, spec, seed, inputs, labels, label_draws), CollectionSettings.model_validate(collection)
    rows: list[Sequence[Any]] = []
    precision = []
    for one, reference in zip(played, references, strict=True):
        name = spec.name if one == spec else f"{spec.name}{PART}{one.name}"
        for split in rollouts.splits:
            # Made anew, so that what is random in one environment or split hangs on no other.
            members, agent = player.agent(job, rollouts.action_selection)
            if agent.precision is not None:
                print(f"rollouts of {method} on {name}, seed {seed}, {split} levels: precision {agent.precision}")
            precision.append(agent.precision)
            level_ids = _levels(job, one, split, rollouts.episodes, levels)
            result = play_levels(one, agent_in(agent, spec, one), level_ids, levels)
            rows += _rows(result, members, (name, method, seed), (typed.policy_episodes or "", split), reference)
    write_text(Path(output), csv_text(RETURNS_COLUMNS, rows))
    record_provenance(
        Path(output),
        code=code,
        settings={
            "method": dict(settings),
            "evaluation": rollouts.model_dump(mode="json"),
            "environment": spec.facts(),
        },
        inputs=inputs,
        seed=seed,
        wall_seconds=time.monotonic() - started,
        precision=precision,
    )


def _levels(
    job: Job, spec: EnvironmentSpec, split: SplitPlayed, count: int, collection: CollectionSettings
) -> NDArray[np.int64]:
    """The level ids int64 [E] of a split that are played in the environment ``spec`` with the job's seed."""
    seed = job.seed + LEVEL_STREAM
    if split == "train":
        train = job.store("train")
        demonstrated = [store for store in train.simulated if store.env == spec.name]
        known = np.unique(np.concatenate([store.array("level_seeds")[...] for store in demonstrated] or [[-1]]))
        if known.min() >= 0:
            return np.resize(np.random.default_rng(seed).permutation(known), count)
    return draw_levels(spec, split, count, seed, collection.num_rulesets, all_levels=collection.levels == "all")


def play_levels(
    spec: EnvironmentSpec, agent: Agent, levels: NDArray[np.int64], collection: CollectionSettings
) -> RolloutResult:
    """All members of the agent on each of ``levels`` int64 [E], which were drawn as ``collection`` says."""
    # Of the simulator, on a CPU beside the networks'; they change no result.
    threads = torch.get_num_threads() // (2 if default_device().type == "cpu" else 1)

    def make_environment(num_slots: int, level_stream: Iterator[int]) -> VectorEnvironment:
        return make_vector_environment(
            spec, num_slots, num_rulesets=collection.num_rulesets, level_stream=level_stream, num_threads=threads
        )

    return roll_out(agent, make_environment, levels, num_slots=family_of(spec).ROLLOUT_SLOTS)


def _rows(
    result: RolloutResult,
    members: Sequence[Member],
    run: Sequence[str | int],
    played: Sequence[str | int],
    references: tuple[float, float],
) -> Iterator[Sequence[Any]]:
    """The rows of returns.csv; ``run``: environment, method and seed; ``played``: how many episodes the policies were trained on, and the
    split."""
    num_levels = len(result.returns) // len(members)
    for index, episode_return in enumerate(result.returns):
        member = members[result.members[index]]
        agent = [*run, member.labels, member.label_draw, *played]
        episode = [index % num_levels, int(result.level_ids[index]), f"{episode_return:.9g}"]
        yield [*agent, *episode, int(result.lengths[index]), bool(result.success[index]), *references]
