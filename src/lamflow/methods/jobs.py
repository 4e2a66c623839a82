"""What a method gets to learn from, and what it answers: decoders, and trainings of policies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lamflow.data.label_budgets import LabelCount
from lamflow.data.labels import draw_episodes
from lamflow.data.store import EpisodeArrays, EpisodeStore
from lamflow.envs.spec import EnvironmentSpec
from lamflow.policies.actions import Actions, actions_of
from lamflow.policies.members import LabelDraws, Member, label_members, labelled_rows
from lamflow.policies.network import PolicyNetwork
from lamflow.settings import EpisodeCount
from lamflow.training.loop import Evaluations
from lamflow.training.metrics import MetricsLog
from lamflow.training.precision import Precision

DESCRIBED = {
    "latents": "the latents of the train split",
    "validation_latents": "the latents of the validation split",
    "decoders": "its decoders file",
    "policy": "its policy file",
    "lam": "the model file of its LAM",
    "tuned_policy": "the policy file of the method that it fine-tunes",
    "tuned_lam": "the model file of the LAM that labels",
    "online_agent": "the file of its agent",
}


@dataclass(frozen=True)
class Job:
    """One job of a method: its name, where it learns or acts, with which labels, and the files that it needs, by artefact."""

    method: str
    spec: EnvironmentSpec
    seed: int
    inputs: Mapping[str, Path]
    labels: Sequence[LabelCount] = ()
    label_draws: LabelDraws = 1

    @property
    def space(self) -> Actions:
        """The actions of the environment."""
        return actions_of(self.spec)

    @cached_property
    def members(self) -> list[Member]:
        """One for each label count and draw."""
        return label_members(self.labels, self.label_draws)

    def file(self, artefact: str) -> Path:
        """The path of one of the files; ValueError when it was not given."""
        if artefact not in self.inputs:
            needed = DESCRIBED.get(artefact, f"the file {artefact!r}")
            raise ValueError(f"method {self.method!r} needs {needed}, and got none")
        return self.inputs[artefact]

    def store(self, split: str) -> EpisodeStore:
        """The episodes of a split; ValueError when they are of another environment."""
        return EpisodeStore.open(self.file(split), env=self.spec.name)

    def train_episodes(self, count: EpisodeCount) -> NDArray[np.int64] | None:
        """So many episodes of the train split, int64 [E], the same for all methods of a seed; None for all. ValueError when it holds
        fewer."""
        store = self.store("train")
        return draw_episodes(store.num_episodes, count, seed=self.seed, store=store.path)

    def labels_of_members(self, episodes: EpisodeCount = "all") -> tuple[EpisodeArrays, list[Tensor]]:
        """The train split without its frames, and the rows whose action each of the ``members`` may see, int64 [N], in so many of its
        episodes; ValueError when they hold too few."""
        store, within = self.store("train"), self.train_episodes(episodes)
        store.check_transitions()
        arrays = store.load(frames=False)
        return arrays, [labelled_rows(arrays, member, self.seed, store.path, within) for member in self.members]


@dataclass(frozen=True)
class FittedDecoders:
    """The tensors of each member's decoder, and what the header of their file says."""

    weights: Sequence[Mapping[str, Tensor]]
    header: Mapping[str, Any]
    precision: Precision | None


class FitsDecoders(Protocol):
    """A method whose agents act by decoders, or whose policies learn from them."""

    def decoders(self, job: Job) -> FittedDecoders:
        """One for each of the job's members."""
        ...


@dataclass(frozen=True)
class Course:
    """Where a training logs, keeps its state for resumption, what it is called, and what is measured of its network meanwhile."""

    metrics: MetricsLog
    state_dir: Path
    identity: str
    title: str
    evaluations: Evaluations | None = None


@dataclass(frozen=True)
class PolicyTask:
    """What one member learns. ``learn`` makes its examples when its turn comes: those of all members would fill the memory."""

    member: Member
    learn: Callable[[Course], PolicyNetwork]


@dataclass(frozen=True)
class Policies:
    """The trainings of a method's policies, all networks of one shape, and what the header of their file says beside that shape."""

    tasks: Sequence[PolicyTask]
    header: Mapping[str, Any] = field(default_factory=dict)


class LearnsPolicies(Protocol):
    """A method with policies that are trained on episodes."""

    def policies(self, job: Job) -> Policies:
        """One for each of the job's members, or one for all."""
        ...
