"""Stop 7: rollouts of one method's agents on test levels."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from lamflow.atomic_files import write_text
from lamflow.data.label_budgets import LabelCount
from lamflow.data.store import EpisodeStore
from lamflow.envs.families import family_of
from lamflow.envs.interface import VectorEnvironment
from lamflow.envs.levels import draw_levels
from lamflow.envs.registry import make_vector_environment
from lamflow.envs.spec import EnvironmentSpec
from lamflow.evaluation.columns import PART, RETURNS_COLUMNS
from lamflow.evaluation.references import reference_returns
from lamflow.evaluation.rollouts import RolloutResult, roll_out
from lamflow.evaluation.settings import EvaluationSettings
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
) -> None:
    """Let every agent of ``method`` (one a label count and draw) play ``evaluation.episodes`` test levels; one row an episode.

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
    given = {"episodes": episodes, "policy": policy, "decoders": decoders, "online_agent": online_agent}
    inputs = {name: Path(path) for name, path in given.items() if path is not None}
    played = [store.spec for store in stores.members] or [spec]
    code = method_code(__name__, typed, "agent", played)
    note_sources(code)
    references = [reference_returns(*each) for each in zip(stores.simulated, played, strict=True)]
    player: Acts = typed.build()
    rows: list[Sequence[Any]] = []
    precision = []
    for one, reference in zip(played, references, strict=True):
        # Made anew, so that what is random in one environment hangs on no other.
        members, agent = player.agent(Job(method, spec, seed, inputs, labels, label_draws), rollouts.action_selection)
        name = spec.name if one == spec else f"{spec.name}{PART}{one.name}"
        if agent.precision is not None:
            print(f"rollouts of {method} on {name}, seed {seed}: precision {agent.precision}")
        precision.append(agent.precision)
        result = _play(one, agent_in(agent, spec, one), rollouts, CollectionSettings.model_validate(collection), seed)
        rows += _rows(result, members, [name, method, seed], reference)
    write_text(Path(output), _table(rows))
    record_provenance(
        Path(output),
        code=code,
        settings={"method": dict(settings), "evaluation": rollouts.model_dump(mode="json")},
        inputs=inputs,
        seed=seed,
        wall_seconds=time.monotonic() - started,
        precision=precision,
    )


def _play(
    spec: EnvironmentSpec, agent: Agent, rollouts: EvaluationSettings, collection: CollectionSettings, seed: int
) -> RolloutResult:
    """All members of the agent on the test levels of ``seed``."""
    levels = draw_levels(
        spec,
        "test",
        rollouts.episodes,
        seed + LEVEL_STREAM,
        collection.num_rulesets,
        all_levels=collection.levels == "all",
    )

    # Of the simulator, on a CPU beside the networks'; they change no result.
    threads = torch.get_num_threads() // (2 if default_device().type == "cpu" else 1)

    def make_environment(num_slots: int, level_stream: Iterator[int]) -> VectorEnvironment:
        return make_vector_environment(
            spec, num_slots, num_rulesets=collection.num_rulesets, level_stream=level_stream, num_threads=threads
        )

    return roll_out(agent, make_environment, levels, num_slots=family_of(spec).ROLLOUT_SLOTS)


def _rows(
    result: RolloutResult, members: Sequence[Member], run: Sequence[str | int], references: tuple[float, float]
) -> Iterator[Sequence[Any]]:
    """Of returns.csv; ``run``: environment, method and seed."""
    num_levels = len(result.returns) // len(members)
    for index, episode_return in enumerate(result.returns):
        member = members[result.members[index]]
        agent = [*run, member.labels, member.label_draw]
        episode = [index % num_levels, int(result.level_ids[index]), f"{episode_return:.9g}"]
        yield [*agent, *episode, int(result.lengths[index]), bool(result.success[index]), *references]


def _table(rows: Sequence[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(RETURNS_COLUMNS)
    writer.writerows(rows)
    return buffer.getvalue()
