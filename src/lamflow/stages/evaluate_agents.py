"""Stop 7: rollouts of one method's agents on test levels."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lamflow.catalogue import environment_spec
from lamflow.config import CollectionSettings, EvaluationSettings, LabelCount
from lamflow.data.store import EpisodeStore
from lamflow.envs.levels import draw_levels
from lamflow.envs.registry import make_vector_environment
from lamflow.evaluation.agents import load_agent
from lamflow.evaluation.columns import RETURNS_COLUMNS
from lamflow.evaluation.rollouts import RolloutResult, roll_out
from lamflow.policies.members import Member, label_members
from lamflow.provenance import record_provenance, write_text

LEVEL_STREAM = 7_000_003
"""Offset of the seed that draws test levels: each seed plays its own, the same for all methods."""


def evaluate_agents(
    *,
    env: str,
    method: str,
    settings: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    collection: Mapping[str, Any],
    labels: Sequence[LabelCount],
    label_draws: int,
    seed: int,
    episodes: Path | str,
    policy: Path | str | None,
    decoders: Path | str | None,
    output: Path | str,
) -> None:
    """Let every agent of ``method`` (one a label count and draw) play ``evaluation.episodes`` test levels; one row an episode."""
    started = time.monotonic()
    spec = environment_spec(env)
    rollouts = EvaluationSettings.model_validate(evaluation)
    num_rulesets = CollectionSettings.model_validate(collection).num_rulesets
    store = EpisodeStore.open(episodes, env=env)
    given = {"episodes": episodes, "policy": policy, "decoders": decoders}
    members, agent = load_agent(
        spec=spec,
        method=method,
        settings=settings,
        label_budgets=label_members(labels, label_draws),
        policy=Path(policy) if policy else None,
        decoders=Path(decoders) if decoders else None,
        action_selection=rollouts.action_selection,
        seed=seed,
    )
    levels = draw_levels(env, "test", rollouts.episodes, seed + LEVEL_STREAM, num_rulesets)
    environment = make_vector_environment(env, len(members) * len(levels), num_rulesets=num_rulesets)
    result = roll_out(agent, environment, levels)
    environment.close()
    write_text(Path(output), _table(result, members, env, method, seed, store))
    record_provenance(
        Path(output),
        stage=__name__,
        settings={"method": dict(settings), "evaluation": rollouts.model_dump(mode="json")},
        inputs={name: Path(path) for name, path in given.items() if path is not None},
        seed=seed,
        wall_seconds=time.monotonic() - started,
    )


def _table(
    result: RolloutResult, members: Sequence[Member], env: str, method: str, seed: int, store: EpisodeStore
) -> str:
    """The rows of returns.csv."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(RETURNS_COLUMNS)
    references = [store.attributes["return_random"], store.attributes["return_expert"]]
    num_levels = len(result.returns) // len(members)
    for index, episode_return in enumerate(result.returns):
        member = members[result.members[index]]
        agent = [env, method, seed, member.labels, member.label_draw]
        episode = [index % num_levels, int(result.level_ids[index]), f"{episode_return:.9g}"]
        writer.writerow([*agent, *episode, int(result.lengths[index]), bool(result.success[index]), *references])
    return buffer.getvalue()
