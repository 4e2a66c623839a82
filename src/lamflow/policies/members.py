"""Files of several networks of one shape: one member a label count and label draw, or a single one for all.

A member's tensors are stored under ``<index>.<name>``; the header's ``members`` lists [labels, label draw] in that order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter
from torch import Tensor

from lamflow.data.label_budgets import LabelBudget, LabelCount
from lamflow.data.labels import draw_labels
from lamflow.data.store import EpisodeArrays
from lamflow.envs.spec import EnvironmentSpec
from lamflow.policies.network import PolicyNetwork
from lamflow.policies.settings import AnyHead, HeadSettings, PolicySettings
from lamflow.training.checkpoint import load_weights, read_model, save_model
from lamflow.training.precision import default_device

LabelDraws = int | Sequence[int]
"""So many label draws, or these."""


@dataclass(frozen=True)
class Member:
    """The label budget of one member, as text ('64', '500 trajectories', 'all', '0'), and which random draw of it."""

    labels: str
    label_draw: int

    @property
    def budget(self) -> LabelBudget:
        return LabelBudget.parse(self.labels)


def label_members(labels: Sequence[LabelCount], label_draws: LabelDraws) -> list[Member]:
    """Every label count with every draw, in the order of the members of all files."""
    draws = range(label_draws) if isinstance(label_draws, int) else label_draws
    return [Member(str(count), draw) for count in labels for draw in draws]


def labelled_rows(
    arrays: EpisodeArrays,
    member: Member,
    seed: int,
    store: Path | None = None,
    within: NDArray[np.int64] | None = None,
) -> Tensor:
    """int64 rows of the transitions whose action this member may see, in the episodes ``within`` or in all; ValueError, which names
    ``store``, when it holds too few."""
    return draw_labels(arrays, member.budget, draw=member.label_draw, seed=seed, store=store, within=within)


def member_seed(seed: int, member: Member) -> int:
    """A seed of the member's own, from the run's: no two seeds, or draws of a seed, have the same. Below 2^60."""
    budget = member.budget
    return (seed * 101 + member.label_draw) * 1_000_003 + budget.count * 2 + (budget.unit == "trajectories")


def save_members(
    path: Path, members: Sequence[Member], weights: Sequence[dict[str, Tensor]], metadata: dict[str, Any]
) -> None:
    """Write all members to one safetensors file."""
    assert len(members) == len(weights)
    tensors = {f"{index}.{name}": tensor for index, part in enumerate(weights) for name, tensor in part.items()}
    save_model(path, tensors, {**metadata, "members": [[member.labels, member.label_draw] for member in members]})


def read_members(
    path: Path, *, env: str, method: str, seed: int, **also: Any
) -> tuple[list[Member], list[dict[str, Tensor]], dict[str, Any]]:
    """The members, their tensors, and the header; ValueError when the file is damaged or of another environment, method or seed, or
    when an entry of its header is not what ``also`` says."""
    tensors, metadata = read_model(path)
    for key, expected in {"env": env, "method": method, "seed": seed, **also}.items():
        if metadata.get(key) != expected:
            raise ValueError(
                f"{path}: found {key} {metadata.get(key)!r}, expected {expected!r}: give the file of that {key}"
            )
    members = [Member(labels, draw) for labels, draw in metadata["members"]]
    weights: list[dict[str, Tensor]] = [{} for _ in members]
    for name, tensor in tensors.items():
        index, _, rest = name.partition(".")
        weights[int(index)][rest] = tensor
    return members, weights, metadata


def read_policies(
    path: Path, spec: EnvironmentSpec, *, method: str, seed: int, **also: Any
) -> tuple[list[Member], list[PolicyNetwork]]:
    """The policy networks of a file, on the default device; ValueError as ``read_members``, and when it is of another architecture."""
    members, weights, metadata = read_members(path, env=spec.name, method=method, seed=seed, **also)
    networks = []
    for tensors in weights:
        network = build_policy(metadata, spec)
        load_weights(network, tensors, path)
        networks.append(network.to(default_device()).eval())
    return members, networks


def policy_header(network: PolicyNetwork) -> dict[str, Any]:
    """What ``build_policy`` needs to make the network again, to be kept in the header of a file."""
    header: dict[str, Any] = {"output_dim": network.output_dim, "settings": network.settings.model_dump(mode="json")}
    if network.head is not None:
        settings = network.head.settings.model_dump(mode="json")
        header["head"] = {"latent_dim": network.head.latent_dim, "settings": settings}
    return header


def build_policy(header: Mapping[str, Any], spec: EnvironmentSpec) -> PolicyNetwork:
    """The untrained network whose ``policy_header`` this is."""
    head = None
    if "head" in header:
        described = header["head"]
        settings: HeadSettings = TypeAdapter(AnyHead).validate_python(described["settings"])
        head = settings.build(latent_dim=described["latent_dim"], feature_dim=header["output_dim"])
    policy = PolicySettings.model_validate(header["settings"])
    return PolicyNetwork(settings=policy, spec=spec, output_dim=header["output_dim"], head=head)
