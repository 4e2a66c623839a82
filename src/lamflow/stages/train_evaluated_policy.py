"""Stop 6, with an audience: behaviour cloning whose policies play validation levels while they train."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from lamflow.atomic_files import write_text
from lamflow.data.label_budgets import LabelCount
from lamflow.data.store import EpisodeStore
from lamflow.envs.interface import Split
from lamflow.envs.levels import draw_levels
from lamflow.envs.spec import EnvironmentSpec
from lamflow.evaluation.columns import POLICY_CURVE_COLUMNS
from lamflow.evaluation.csv_text import csv_text
from lamflow.evaluation.references import reference_returns
from lamflow.evaluation.settings import EvaluationSettings
from lamflow.methods.acting import Acts
from lamflow.methods.jobs import Job
from lamflow.methods.settings import MethodSettings, method_settings
from lamflow.policies.agents import Agent
from lamflow.policies.members import LabelDraws, Member, label_members, policy_header, save_members
from lamflow.policies.network import PolicyNetwork
from lamflow.provenance import record_provenance, settings_digest
from lamflow.rl.demonstrator_settings import CollectionSettings
from lamflow.stages.code import method_code
from lamflow.stages.evaluate_agents import LEVEL_STREAM, play_levels
from lamflow.stages.train_policy import train_policy
from lamflow.training.loop import EVALUATION, Evaluations
from lamflow.training.metrics import Row
from lamflow.training.processes import is_main

SPLIT: Split = "validation"
EVALUATE = "lamflow.stages.evaluate_agents"


def train_evaluated_policy(
    *,
    environment: Mapping[str, Any],
    method: str,
    settings: Mapping[str, Any],
    agent: Mapping[str, Any],
    agent_labels: Sequence[LabelCount],
    agent_label_draws: LabelDraws,
    evaluation: Mapping[str, Any],
    collection: Mapping[str, Any],
    logging: Mapping[str, Any],
    labels: Sequence[LabelCount],
    label_draws: LabelDraws,
    seed: int,
    train: Path | str,
    validation: Path | str,
    latents: Path | str | None,
    validation_latents: Path | str | None,
    decoders: Path | str | None,
    episodes: Path | str,
    output: Path | str,
    metrics: Path | str,
    curve: Path | str,
    state_dir: Path | str,
    experiment_dir: Path | str | None = None,
) -> None:
    """``train_policy``, and ``curve``: what each agent of ``method`` returned on ``evaluation.episodes`` levels of the validation split at
    each of ``evaluation.during_training`` steps of its policy's training, columns ``columns.POLICY_CURVE_COLUMNS``.

    The policies are those of ``train_policy``. ``agent``, ``agent_labels``, ``agent_label_draws``: the method's settings, label budgets and
    draws as agents have them. ``decoders``: those of its agents, or of its own training. ``episodes``: the test store, for the returns of
    random and demonstrator; no test level is played.
    """
    started = time.monotonic()
    spec, typed = EnvironmentSpec.from_facts(environment), method_settings(agent)
    played, levels = EvaluationSettings.model_validate(evaluation), CollectionSettings.model_validate(collection)
    given = {"episodes": episodes, "decoders": decoders}
    job = Job(
        method,
        spec,
        seed,
        {name: Path(path) for name, path in given.items() if path is not None},
        agent_labels,
        agent_label_draws,
    )
    code = method_code(EVALUATE, typed, "agent", spec)
    described = [evaluation, collection, agent, list(agent_labels), agent_label_draws, code.digest]
    audience = _Rollouts(job, typed, played, levels, settings_digest(described))
    train_policy(
        environment=environment,
        method=method,
        settings=settings,
        logging=logging,
        labels=labels,
        label_draws=label_draws,
        seed=seed,
        train=train,
        validation=validation,
        latents=latents,
        validation_latents=validation_latents,
        decoders=decoders,
        output=output,
        metrics=metrics,
        state_dir=state_dir,
        experiment_dir=experiment_dir,
        audience=audience,
    )
    if not is_main():
        return
    references = reference_returns(EpisodeStore.open(episodes, env=spec.name), spec)
    write_text(Path(curve), audience.table(references))
    record_provenance(
        Path(curve),
        code=code,
        settings={"method": dict(agent), "evaluation": played.model_dump(mode="json")},
        inputs=job.inputs,
        seed=seed,
        wall_seconds=time.monotonic() - started,
    )


@dataclass
class _Rollouts:
    """Lets policies play. ``points``: member, step, mean return and share of successes, of each evaluation."""

    job: Job
    settings: MethodSettings
    evaluation: EvaluationSettings
    collection: CollectionSettings
    identity: str
    points: list[tuple[Member, int, float, float]] = field(default_factory=list)

    def evaluations(self, member: Member, header: Mapping[str, Any]) -> Evaluations:
        return Evaluations(self.evaluation.during_training, partial(self._measure, member, header))

    def keep(self, member: Member, rows: Sequence[Row]) -> None:
        found = {(step, name): value for step, split, name, value in rows if split == EVALUATION}
        for step in dict.fromkeys(step for step, _ in found):
            for played in self._players(member):
                mean, successes = (found[step, name] for name in _names(played))
                self.points.append((played, step, mean, successes))

    def _players(self, member: Member) -> list[Member]:
        """The agents that the policy of a member is a part of."""
        if self.settings.policy_of_labels:
            return [member]
        return label_members(self.job.labels, self.job.label_draws) or [member]

    def _measure(self, member: Member, header: Mapping[str, Any], network: nn.Module) -> dict[str, float]:
        """Mean return and share of successes of each agent of a policy, which is written to a file as the finished one will be."""
        assert isinstance(network, PolicyNetwork)
        players = self._players(member)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "policy.safetensors"
            save_members(path, [member], [dict(network.state_dict())], {**header, **policy_header(network)})
            members, agent = self._agent(member, path)
        assert members == players, f"{members} play, expected {players}"
        result = play_levels(self.job.spec, agent, self._levels(), self.collection)
        values: dict[str, float] = {}
        for index, played in enumerate(players):
            own = result.members == index
            outcome = float(result.returns[own].mean()), float(result.success[own].mean())
            values |= dict(zip(_names(played), outcome, strict=True))
        return values

    def _agent(self, member: Member, policy: Path) -> tuple[list[Member], Agent]:
        """The agents of a policy of one member, in a file."""
        job = replace(self.job, inputs={**self.job.inputs, "policy": policy})
        if self.settings.policy_of_labels:
            job = replace(job, labels=(member.labels,), label_draws=(member.label_draw,))
        player: Acts = self.settings.build()
        return player.agent(job, self.evaluation.action_selection)

    def _levels(self) -> NDArray[np.int64]:
        return draw_levels(
            self.job.spec,
            SPLIT,
            self.evaluation.episodes,
            self.job.seed + LEVEL_STREAM,
            self.collection.num_rulesets,
            all_levels=self.collection.levels == "all",
        )

    def table(self, references: tuple[float, float]) -> str:
        """curve.csv."""
        rows = []
        run = (self.job.spec.name, self.job.method, self.job.seed)
        for member, step, mean, successes in self.points:
            agent = (member.labels, member.label_draw, self.settings.policy_episodes or "", SPLIT)
            measured = (step, self.evaluation.episodes, f"{mean:.9g}", f"{successes:.9g}")
            rows.append([*run, *agent, *measured, *references])
        return csv_text(POLICY_CURVE_COLUMNS, rows)


def _names(member: Member) -> tuple[str, str]:
    """Under which an agent's mean return and share of successes are logged."""
    agent = f"{member.labels}/{member.label_draw}"
    return f"return/{agent}", f"success/{agent}"
