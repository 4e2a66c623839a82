"""Video pretraining (Baker et al. 2022, arXiv 2206.11795): an inverse dynamics model of few labels, which labels all episodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor

from lamflow.data.tensors import EpisodeTensors
from lamflow.data.windows import TRANSITION
from lamflow.methods.acting import labelled_agent
from lamflow.methods.cloning import ActionCloning
from lamflow.methods.jobs import FittedDecoders, Job, Policies
from lamflow.methods.vpt_settings import VptMethodSettings
from lamflow.networks.settings import AnyEncoder
from lamflow.policies.agents import Agent
from lamflow.policies.inverse_dynamics import ActionLabeller, fit_action_labeller
from lamflow.policies.learning import Examples
from lamflow.policies.members import Member, member_seed, read_members
from lamflow.policies.settings import ActionSelection
from lamflow.training.checkpoint import load_weights
from lamflow.training.precision import precision_of


class Vpt:
    """An inverse dynamics model and a policy, both per label count and draw."""

    def __init__(self, settings: VptMethodSettings) -> None:
        self.settings = settings

    def decoders(self, job: Job) -> FittedDecoders:
        """The inverse dynamics models."""
        settings, training = self.settings, self.settings.decoder.training
        _, labelled = job.labels_of_members(settings.labeller_episodes)
        data = EpisodeTensors.open(job.store("train"), window_gib=training.window_gib)
        labellers = [
            fit_action_labeller(
                settings=settings.inverse_dynamics,
                symmetry=settings.symmetry,
                training=training,
                spec=job.spec,
                data=data,
                rows=rows,
                seed=member_seed(job.seed, member),
                box_loss=settings.decoder.box_loss,
            )
            for member, rows in zip(job.members, labelled, strict=True)
        ]
        header = {
            "symmetry": settings.symmetry,
            "network": settings.inverse_dynamics.model_dump(mode="json"),
            "box_loss": settings.decoder.box_loss,
        }
        precision = precision_of(training.precision, labellers[0].parameters())
        return FittedDecoders([labeller.state_dict() for labeller in labellers], header, precision)

    def policies(self, job: Job) -> Policies:
        """One for each member, on its pseudo-labels of all episodes that its settings ask for, and its labels there."""
        cloning = ActionCloning(job, self.settings.policy)
        _, labelled = job.labels_of_members(self.settings.labeller_episodes)
        parts = zip(job.members, _labellers(job), labelled, strict=True)
        return Policies(
            [
                cloning.of_examples(member, partial(_pseudo_labelled, cloning.data, labeller, rows))
                for member, labeller, rows in parts
            ]
        )

    def agent(self, job: Job, action_selection: ActionSelection) -> tuple[list[Member], Agent]:
        """Each member plays by its own policy."""
        return labelled_agent(job, self.settings.action_selection or action_selection)

    def action_reader(self, job: Job) -> tuple[list[Member], LabellerReader]:
        """Each member's inverse dynamics model."""
        return job.members, LabellerReader(_labellers(job))


@dataclass(frozen=True)
class LabellerReader:
    """See ``lamflow.methods.reading.ActionReader``."""

    labellers: Sequence[ActionLabeller]
    components: tuple[()] = ()

    def read(self, data: EpisodeTensors, rows: Tensor) -> Tensor:
        """The most likely actions [M, N, ...] at ``rows`` int64 [N]."""
        held = data.part(TRANSITION, rows)
        return torch.stack([labeller.to(data.device).most_likely(held).cpu() for labeller in self.labellers])


def _labellers(job: Job) -> Sequence[ActionLabeller]:
    """The inverse dynamics models of the members, from their file."""
    path = job.file("decoders")
    found, weights, metadata = read_members(path, env=job.spec.name, method=job.method, seed=job.seed)
    if found != job.members:
        raise ValueError(f"{path}: holds other label counts or draws than the policies'; train the decoders again")
    settings: Any = TypeAdapter(AnyEncoder).validate_python(metadata["network"])
    labellers = []
    for tensors in weights:
        labeller = ActionLabeller(
            settings=settings,
            symmetry=metadata["symmetry"],
            spec=job.spec,
            box_loss=metadata["box_loss"],
        )
        load_weights(labeller, tensors, path)
        labellers.append(labeller.eval())
    return labellers


def _pseudo_labelled(data: EpisodeTensors, labeller: ActionLabeller, known: Tensor) -> Examples:
    """All transitions that count with a member's pseudo-labels; the labels of the ``known`` rows among them stay."""
    labels, known = data.actions.clone(), known.to(data.device)
    labels[data.rows] = labeller.to(data.device).pseudo_labels(data, data.rows)
    labels[known] = data.actions[known]
    return Examples(data.with_column("pseudo_labels", labels), data.rows, "pseudo_labels")
