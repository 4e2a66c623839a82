"""Stop 6: behaviour cloning, of latent actions, codes, labels, pseudo-labels or all true actions."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from lamflow.data.label_budgets import LabelCount
from lamflow.envs.spec import EnvironmentSpec
from lamflow.methods.jobs import Course, Job, LearnsPolicies
from lamflow.methods.settings import method_settings
from lamflow.policies.members import LabelDraws, Member, policy_header, save_members
from lamflow.provenance import file_digest, record_provenance, settings_digest
from lamflow.stages.code import method_code
from lamflow.training.checkpoint import remove_checkpoints
from lamflow.training.loop import Evaluations
from lamflow.training.metrics import MetricsLog, Row
from lamflow.training.processes import is_main
from lamflow.training.settings import LoggingSettings
from lamflow.training.tracking import TrackedRun


class Audience(Protocol):
    """Who looks at policies while they train. ``identity`` says who it is, for what resumes a training."""

    identity: str

    def evaluations(self, member: Member, header: Mapping[str, Any]) -> Evaluations:
        """What is measured of the network of a member, whose file has the ``header`` beside what describes the network."""
        ...

    def keep(self, member: Member, rows: Sequence[Row]) -> None:
        """The metrics of the member's whole training."""
        ...


def train_policy(
    *,
    environment: Mapping[str, Any],
    method: str,
    settings: Mapping[str, Any],
    logging: Mapping[str, Any],
    labels: Sequence[LabelCount],
    label_draws: LabelDraws,
    seed: int,
    train: Path | str,
    validation: Path | str,
    latents: Path | str | None,
    validation_latents: Path | str | None,
    decoders: Path | str | None,
    output: Path | str,
    metrics: Path | str,
    state_dir: Path | str,
    experiment_dir: Path | str | None = None,
    audience: Audience | None = None,
) -> None:
    """Train the policy of ``method``: one for all label budgets (latent methods, oracle), or one a label count and draw (BC, VPT).

    ``latents``, ``validation_latents``: the latent stores of the two splits; ``decoders``: the method's own decoders file, such as the
    supervised IDMs of VPT. The method's settings say which of them it needs: ValueError where one is missing. Resumes from
    ``state_dir``. The metrics file holds the curves of the first member. With ``logging.wandb`` each member is a run, whose files lie in
    ``experiment_dir`` (the output's folder if None). An ``audience`` changes nothing of the policies.
    """
    started = time.monotonic()
    typed, spec = method_settings(settings), EnvironmentSpec.from_facts(environment)
    given = {"train": train, "validation": validation, "latents": latents, "validation_latents": validation_latents}
    given["decoders"] = decoders
    inputs = {name: Path(path) for name, path in given.items() if path is not None}
    digests = {name: file_digest(path) for name, path in inputs.items()}
    code = method_code(__name__, typed, "policy")
    read = typed.model_dump(mode="json", exclude=set(typed.unread("policy")))
    identity = settings_digest([read, seed, digests, code.digest, *([audience.identity] if audience else [])])
    learner: LearnsPolicies = typed.build()
    policies = learner.policies(Job(method, spec, seed, inputs, labels, label_draws))
    log_settings = LoggingSettings.model_validate(logging)
    job = TrackedRun(
        experiment_dir=Path(experiment_dir or Path(output).parent),
        kind="policy",
        name=f"policies/{spec.name}/{method}/seed{seed}",
        identity=identity,
        code=code,
        settings=settings,
        inputs=digests,
        env=spec.name,
        method=method,
        seed=seed,
    )
    header = {"kind": "policy", "env": spec.name, "method": method, "seed": seed, **policies.header}
    header |= {"environment": spec.facts(), "method_settings": read}
    collected, weights, precisions = MetricsLog(), [], []
    for index, task in enumerate(policies.tasks):
        member = task.member
        log = MetricsLog(log_settings, _tracked_member(job, member, (index, len(policies.tasks))))
        network = task.learn(
            Course(
                metrics=log,
                state_dir=Path(state_dir) / str(index),
                identity=f"{identity}-{member}",
                title=f"{method} on {spec.name}, seed {seed}, labels {member.labels}, draw {member.label_draw}",
                evaluations=audience.evaluations(member, header) if audience else None,
            )
        )
        log.finish()
        precisions.append(log.precision)
        weights.append({name: tensor.cpu() for name, tensor in network.state_dict().items()})
        collected.rows += log.rows if index == 0 else []
        if audience:
            audience.keep(member, log.rows)
    if not is_main():
        return
    collected.write(Path(metrics))
    save_members(Path(output), [task.member for task in policies.tasks], weights, header | policy_header(network))
    record_provenance(
        Path(output),
        code=code,
        settings=settings,
        inputs=inputs,
        seed=seed,
        wall_seconds=time.monotonic() - started,
        precision=precisions,
    )
    remove_checkpoints(Path(state_dir))


def _tracked_member(job: TrackedRun, member: Member, part: tuple[int, int]) -> TrackedRun:
    """The run of one member; what all labels or none went into needs no name of its own."""
    facts = {"labels": member.labels, "label_draw": member.label_draw}
    named = f"labels {member.labels}, draw {member.label_draw}" if part[1] > 1 else ""
    return replace(job, part=part, part_name=named, part_facts=facts)
