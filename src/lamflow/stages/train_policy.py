"""Stop 6: behaviour cloning, of latent actions, codes, labels, pseudo-labels or all true actions."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor

from lamflow.catalogue import EnvironmentSpec, environment_spec
from lamflow.config import LabelCount, LatentMethodSettings, LoggingSettings, MethodSettings, NetworkSettings
from lamflow.data.latents import LatentStore
from lamflow.data.store import EpisodeArrays, EpisodeStore
from lamflow.data.windows import action_rows, transition_rows
from lamflow.policies.dataset import EpisodeTensors
from lamflow.policies.inverse_dynamics import ActionLabeller
from lamflow.policies.learning import (
    Examples,
    Objective,
    action_objective,
    clone,
    code_objective,
    latent_objective,
)
from lamflow.policies.members import (
    ALL_LABELS,
    Member,
    label_members,
    labelled_rows,
    member_seed,
    read_members,
    save_members,
)
from lamflow.provenance import code_digest, file_digest, record_provenance, settings_digest
from lamflow.training.checkpoint import load_weights
from lamflow.training.metrics import MetricsLog


@dataclass(frozen=True)
class _Task:
    """What one member learns."""

    member: Member
    objective: Objective
    output_dim: int
    train: Examples
    validation: Examples


def train_policy(
    *,
    env: str,
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
) -> None:
    """Train the policy of ``method``: one for all label budgets (latent methods, oracle), or one a label count and draw (BC, VPT).

    ``latents``, ``validation_latents``: the latent stores of the two splits (latent methods); ``decoders``: the supervised
    IDMs (VPT). Resumes from ``state_dir``. The metrics file holds the curves of the first member.
    """
    started = time.monotonic()
    spec = environment_spec(env)
    typed: Any = TypeAdapter(MethodSettings).validate_python(settings)
    stores = {"train": EpisodeStore.open(train, env=env), "validation": EpisodeStore.open(validation, env=env)}
    given = {"train": train, "validation": validation, "latents": latents, "validation_latents": validation_latents}
    given["decoders"] = decoders
    inputs = {name: Path(path) for name, path in given.items() if path is not None}
    digests = {name: file_digest(path) for name, path in inputs.items()}
    identity = settings_digest([typed.policy.model_dump(mode="json"), typed.kind, seed, digests, code_digest(__name__)])
    if isinstance(typed, LatentMethodSettings):
        tasks = _latent_tasks(typed, stores, inputs, seed)
    else:
        tasks = _action_tasks(typed.kind, method, spec, stores, inputs, labels, label_draws, seed)
    log_settings = LoggingSettings.model_validate(logging)
    collected, weights = MetricsLog(), []
    for index, task in enumerate(tasks):
        log = MetricsLog(log_settings, run_name=f"{env}/{method}/seed{seed}/{index}", directory=Path(state_dir))
        network = clone(
            spec=spec,
            settings=typed.policy,
            output_dim=task.output_dim,
            objective=task.objective,
            train_examples=task.train,
            validation_examples=task.validation,
            seed=member_seed(seed, task.member),
            metrics=log,
            state_dir=Path(state_dir) / str(index),
            identity=f"{identity}-{task.member}",
            title=f"{method} on {env}, seed {seed}, labels {task.member.labels}, draw {task.member.label_draw}",
        )
        log.finish()
        weights.append(network.state_dict())
        collected.rows += log.rows if index == 0 else []
    collected.write(Path(metrics))
    metadata = {"kind": "policy", "env": env, "method": method, "seed": seed, "output_dim": tasks[0].output_dim}
    metadata["settings"] = typed.policy.model_dump(mode="json")
    save_members(Path(output), [task.member for task in tasks], weights, metadata)
    record_provenance(
        Path(output),
        stage=__name__,
        settings=settings,
        inputs=inputs,
        seed=seed,
        wall_seconds=time.monotonic() - started,
    )


def _latent_tasks(
    settings: LatentMethodSettings, stores: Mapping[str, EpisodeStore], inputs: Mapping[str, Path], seed: int
) -> list[_Task]:
    """One policy of the latents, or of the codes, of all transitions."""
    examples = []
    for split, name in (("train", "latents"), ("validation", "validation_latents")):
        if name not in inputs:
            raise ValueError(f"a latent policy needs the latents of the {split} split; none were given")
        store = stores[split]
        latents = LatentStore.open(inputs[name], env=store.env, lam=settings.lam, seed=seed, episodes=store)
        arrays, values = store.load(), latents.load()
        targets = values.codes if settings.target == "codes" else values.latents
        assert targets is not None
        rows = transition_rows(arrays)
        examples.append(Examples(EpisodeTensors(arrays), rows, torch.from_numpy(targets)[rows]))
    member = Member(ALL_LABELS, 0)
    if settings.target == "latent":
        return [_Task(member, latent_objective, latents.latent_dim, *examples)]
    return [_Task(member, code_objective, latents.num_tokens * (latents.codebook_size or 0), *examples)]


def _action_tasks(
    kind: str,
    method: str,
    spec: EnvironmentSpec,
    stores: Mapping[str, EpisodeStore],
    inputs: Mapping[str, Path],
    labels: Sequence[LabelCount],
    label_draws: int,
    seed: int,
) -> list[_Task]:
    """Policies in true actions: of the labels (bc), of pseudo-labels (vpt), or of every action (oracle_bc)."""
    arrays, held_out = stores["train"].load(), stores["validation"].load()
    data, validation = EpisodeTensors(arrays), _with_actions(held_out)
    if kind == "oracle_bc":
        return [_Task(Member(ALL_LABELS, 0), action_objective, spec.num_actions, _with_actions(arrays), validation)]
    members = label_members(labels, label_draws)
    if kind == "bc":
        parts = [labelled_rows(arrays, member, seed) for member in members]
        examples = [Examples(data, rows, data.actions[rows]) for rows in parts]
    else:
        examples = _pseudo_labelled(method, spec, data, arrays, inputs, members, seed)
    return [
        _Task(member, action_objective, spec.num_actions, part, validation)
        for member, part in zip(members, examples, strict=True)
    ]


def _with_actions(arrays: EpisodeArrays) -> Examples:
    data, rows = EpisodeTensors(arrays), action_rows(arrays)
    return Examples(data, rows, data.actions[rows])


def _pseudo_labelled(
    method: str,
    spec: EnvironmentSpec,
    data: EpisodeTensors,
    arrays: EpisodeArrays,
    inputs: Mapping[str, Path],
    members: Sequence[Member],
    seed: int,
) -> list[Examples]:
    """All transitions with each member's pseudo-labels; where a true label is known it stays."""
    if "decoders" not in inputs:
        raise ValueError(f"method {method!r} needs its supervised inverse dynamics models; none were given")
    path = inputs["decoders"]
    found, weights, metadata = read_members(path, env=spec.name, method=method)
    if found != list(members):
        raise ValueError(f"{path}: holds other label counts or draws than the policies'; train the decoders again")
    rows = transition_rows(arrays)
    examples = []
    for member, tensors in zip(members, weights, strict=True):
        labeller = ActionLabeller(
            settings=NetworkSettings.model_validate(metadata["network"]), symmetry=metadata["symmetry"], spec=spec
        )
        load_weights(labeller, tensors, path)
        targets: Tensor = data.actions.clone()
        targets[rows] = labeller.eval().pseudo_labels(data, rows)
        known = labelled_rows(arrays, member, seed)
        targets[known] = data.actions[known]
        examples.append(Examples(data, rows, targets[rows]))
    return examples
