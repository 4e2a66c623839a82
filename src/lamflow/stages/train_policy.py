"""Stop 6: behaviour cloning, of latent actions, codes, labels, pseudo-labels or all true actions."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor

from lamflow.data.label_budgets import ALL_LABELS, LabelCount
from lamflow.data.latents import LatentStore
from lamflow.data.store import EpisodeStore
from lamflow.data.tensors import EpisodeTensors
from lamflow.envs.spec import EnvironmentSpec
from lamflow.methods.settings import method_settings
from lamflow.networks.settings import AnyEncoder
from lamflow.policies.actions import DiscreteActions
from lamflow.policies.inverse_dynamics import ActionLabeller
from lamflow.policies.latent_heads import LatentHead
from lamflow.policies.learning import (
    Examples,
    Objective,
    clone,
    code_objective,
    latent_objective,
)
from lamflow.policies.members import (
    Member,
    label_members,
    labelled_rows,
    member_seed,
    policy_header,
    read_members,
    save_members,
)
from lamflow.policies.method_settings import LatentMethodSettings
from lamflow.provenance import file_digest, record_provenance, settings_digest
from lamflow.stages.code import stage_code
from lamflow.training.checkpoint import load_weights, remove_checkpoints, seed_everything
from lamflow.training.metrics import MetricsLog
from lamflow.training.processes import is_main
from lamflow.training.settings import LoggingSettings
from lamflow.training.tracking import TrackedRun


@dataclass(frozen=True)
class _Task:
    """What one member learns. ``train`` makes its examples when its turn comes: all members' pseudo-labels would fill the memory."""

    member: Member
    objective: Objective
    output_dim: int
    train: Callable[[], Examples]
    validation: Examples
    head: LatentHead | None = None


def train_policy(
    *,
    environment: Mapping[str, Any],
    method: str,
    settings: Mapping[str, Any],
    logging: Mapping[str, Any],
    labels: Sequence[LabelCount],
    label_draws: int,
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
) -> None:
    """Train the policy of ``method``: one for all label budgets (latent methods, oracle), or one a label count and draw (BC, VPT).

    ``latents``, ``validation_latents``: the latent stores of the two splits (latent methods); ``decoders``: the supervised
    IDMs (VPT). Resumes from ``state_dir``. The metrics file holds the curves of the first member. With
    ``logging.wandb`` each member is a run, whose files lie in ``experiment_dir`` (the output's folder if None).
    """
    started = time.monotonic()
    spec = EnvironmentSpec.from_facts(environment)
    env = spec.name
    typed: Any = method_settings(settings)
    stores = {"train": EpisodeStore.open(train, env=env), "validation": EpisodeStore.open(validation, env=env)}
    given = {"train": train, "validation": validation, "latents": latents, "validation_latents": validation_latents}
    given["decoders"] = decoders
    inputs = {name: Path(path) for name, path in given.items() if path is not None}
    digests = {name: file_digest(path) for name, path in inputs.items()}
    learnt: list[Any] = [typed.policy.model_dump(mode="json"), typed.kind]
    if isinstance(typed, LatentMethodSettings):
        learnt += [typed.target, typed.latent_head.model_dump(mode="json") if typed.latent_head else None]
    identity = settings_digest([*learnt, seed, digests, stage_code(__name__, settings=typed).digest])
    if isinstance(typed, LatentMethodSettings):
        tasks = _latent_tasks(typed, stores, inputs, seed)
    else:
        tasks = _action_tasks(typed, method, spec, stores, inputs, labels, label_draws, seed)
    log_settings = LoggingSettings.model_validate(logging)
    job = TrackedRun(
        experiment_dir=Path(experiment_dir or Path(output).parent),
        kind="policy",
        name=f"policies/{env}/{method}/seed{seed}",
        identity=identity,
        code=stage_code(__name__, settings=typed),
        settings=settings,
        inputs=digests,
        env=env,
        method=method,
        seed=seed,
    )
    collected, weights, precisions = MetricsLog(), [], []
    for index, task in enumerate(tasks):
        log = MetricsLog(log_settings, _tracked_member(job, task.member, (index, len(tasks))))
        network = clone(
            spec=spec,
            settings=typed.policy,
            output_dim=task.output_dim,
            objective=task.objective,
            train_examples=task.train(),
            validation_examples=task.validation,
            seed=member_seed(seed, task.member),
            metrics=log,
            state_dir=Path(state_dir) / str(index),
            identity=f"{identity}-{task.member}",
            title=f"{method} on {env}, seed {seed}, labels {task.member.labels}, draw {task.member.label_draw}",
            head=task.head,
        )
        log.finish()
        precisions.append(log.precision)
        weights.append({name: tensor.cpu() for name, tensor in network.state_dict().items()})
        collected.rows += log.rows if index == 0 else []
    if not is_main():
        return
    collected.write(Path(metrics))
    metadata = {"kind": "policy", "env": env, "method": method, "seed": seed, **policy_header(network)}
    if isinstance(typed, LatentMethodSettings):
        metadata["latents_digest"] = LatentStore.open(inputs["latents"]).attributes["digest"]
    save_members(Path(output), [task.member for task in tasks], weights, metadata)
    record_provenance(
        Path(output),
        code=stage_code(__name__, settings=typed),
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


def _latent_tasks(
    settings: LatentMethodSettings, stores: Mapping[str, EpisodeStore], inputs: Mapping[str, Path], seed: int
) -> list[_Task]:
    """One policy of the latents, or of the codes, of all transitions: of the actions that have a next frame."""
    examples, opened = [], []
    for split, name in (("train", "latents"), ("validation", "validation_latents")):
        if name not in inputs:
            raise ValueError(f"a latent policy needs the latents of the {split} split; none were given")
        store = stores[split]
        store.check_transitions()
        latents = LatentStore.open(inputs[name], env=store.env, lam=settings.lam, seed=seed, episodes=store)
        target = "codes" if settings.target == "codes" else "latents"
        data = EpisodeTensors.open(
            store,
            window_gib=settings.policy.training.window_gib if split == "train" else 0,
            context=settings.policy.context,
            columns={target: latents.rows(target)},
        )
        examples.append(Examples(data, data.rows, target))
        opened.append(latents)
    member, (train, validation) = Member(ALL_LABELS, 0), examples
    if settings.target == "codes":
        num_logits = latents.num_tokens * (latents.codebook_size or 0)
        return [_Task(member, code_objective, num_logits, lambda: train, validation)]
    if settings.latent_head is None:
        return [_Task(member, latent_objective, latents.latent_dim, lambda: train, validation)]
    head = _new_head(settings, opened[0], seed)
    return [_Task(member, head.loss, head.num_outputs, lambda: train, validation, head)]


def _new_head(settings: LatentMethodSettings, latents: LatentStore, seed: int) -> LatentHead:
    """The untrained head of a policy, which standardises by the latents of the train split."""
    assert settings.latent_head is not None
    seed_everything(seed)
    feature_dim = settings.policy.network.hidden_width
    head: LatentHead = settings.latent_head.build(latent_dim=latents.latent_dim, feature_dim=feature_dim)
    head.standardise(*map(torch.from_numpy, latents.moments()))
    return head


def _action_tasks(
    settings: Any,
    method: str,
    spec: EnvironmentSpec,
    stores: Mapping[str, EpisodeStore],
    inputs: Mapping[str, Path],
    labels: Sequence[LabelCount],
    label_draws: int,
    seed: int,
) -> list[_Task]:
    """Policies in true actions: of the labels (bc), of pseudo-labels (vpt), or of every action (oracle_bc)."""
    context = settings.policy.context
    data = EpisodeTensors.open(stores["train"], window_gib=settings.policy.training.window_gib, context=context)
    held_out = EpisodeTensors.open(stores["validation"], window_gib=0, context=context)
    validation = _with_actions(held_out, held_out.action_rows)
    if settings.kind == "oracle_bc":
        members, parts = [Member(ALL_LABELS, 0)], [partial(_with_actions, data, data.action_rows)]
    else:
        stores["train"].check_transitions()
        members, arrays = label_members(labels, label_draws), stores["train"].load(frames=False)
        known = [labelled_rows(arrays, member, seed, stores["train"].path) for member in members]
        parts = [partial(_with_actions, data, rows) for rows in known]
        if settings.kind == "vpt":
            labellers = _labellers(method, spec, inputs, members, seed)
            parts = [partial(_pseudo_labelled, data, *pair) for pair in zip(labellers, known, strict=True)]
    space = DiscreteActions.of(spec)
    return [
        _Task(member, space.loss, space.num_outputs, part, validation)
        for member, part in zip(members, parts, strict=True)
    ]


def _with_actions(data: EpisodeTensors, rows: Tensor) -> Examples:
    return Examples(data, rows.to(data.device), "actions")


def _labellers(
    method: str, spec: EnvironmentSpec, inputs: Mapping[str, Path], members: Sequence[Member], seed: int
) -> list[ActionLabeller]:
    """The supervised inverse dynamics models of ``members``."""
    if "decoders" not in inputs:
        raise ValueError(f"method {method!r} needs its supervised inverse dynamics models; none were given")
    path = inputs["decoders"]
    found, weights, metadata = read_members(path, env=spec.name, method=method, seed=seed)
    if found != list(members):
        raise ValueError(f"{path}: holds other label counts or draws than the policies'; train the decoders again")
    settings: Any = TypeAdapter(AnyEncoder).validate_python(metadata["network"])
    labellers = []
    for tensors in weights:
        labeller = ActionLabeller(settings=settings, symmetry=metadata["symmetry"], spec=spec)
        load_weights(labeller, tensors, path)
        labellers.append(labeller.eval())
    return labellers


def _pseudo_labelled(data: EpisodeTensors, labeller: ActionLabeller, known: Tensor) -> Examples:
    """All transitions with a member's pseudo-labels; the labels of the ``known`` rows stay."""
    labels, known = data.actions.clone(), known.to(data.device)
    labels[data.rows] = labeller.to(data.device).pseudo_labels(data, data.rows)
    labels[known] = data.actions[known]
    return Examples(data.with_column("pseudo_labels", labels), data.rows, "pseudo_labels")
