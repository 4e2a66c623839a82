"""Behaviour cloning as methods use it: of any target, and of true actions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from torch import Tensor

from lamflow.data.tensors import EpisodeTensors
from lamflow.methods.jobs import Course, Job, PolicyTask
from lamflow.policies.latent_heads import LatentHead
from lamflow.policies.learning import Examples, Objective, clone
from lamflow.policies.members import Member, member_seed
from lamflow.policies.network import PolicyNetwork
from lamflow.policies.settings import PolicySettings


class Target(NamedTuple):
    """What a policy answers, numbers a row, and what it is trained by; with a head, by the head's loss."""

    width: int
    objective: Objective
    head: LatentHead | None = None


class Cloning(NamedTuple):
    """One member's training: its network, what it answers, and its examples, of which those to train on are made when its turn comes."""

    job: Job
    member: Member
    settings: PolicySettings
    target: Target
    train: Callable[[], Examples]
    validation: Examples | None

    def task(self) -> PolicyTask:
        """The training, to be done."""
        return PolicyTask(self.member, self._learn)

    def _learn(self, course: Course) -> PolicyNetwork:
        return clone(
            spec=self.job.spec,
            settings=self.settings,
            output_dim=self.target.width,
            objective=self.target.objective,
            train_examples=self.train(),
            validation_examples=self.validation,
            seed=member_seed(self.job.seed, self.member),
            metrics=course.metrics,
            state_dir=course.state_dir,
            identity=course.identity,
            title=course.title,
            head=self.target.head,
            evaluations=course.evaluations,
        )


class ActionCloning:
    """The episodes of a job, as policies in true actions are trained and validated on them: ``data``, of the train split, counts those
    alone that the settings ask for. Validated is on rows whose action is known; where there are none, not at all. ``target``: another one
    than the actions' own loss."""

    def __init__(self, job: Job, settings: PolicySettings, target: Target | None = None) -> None:
        self.job, self.settings = job, settings
        space = job.space.learnt_by(settings.box_loss)
        self.target = target or Target(space.num_outputs, space.loss)
        split = EpisodeTensors.open(job.store("train"), window_gib=settings.training.window_gib)
        self.data = split.of_episodes(job.train_episodes(settings.episodes))
        held_out = EpisodeTensors.open(job.store("validation"), window_gib=0)
        known = held_out.action_rows.to(held_out.device)
        self.validation = Examples(held_out, known, "actions") if len(known) else None

    def of_rows(self, member: Member, rows: Tensor) -> PolicyTask:
        """The training of a member's policy on the true actions of some rows."""
        return self.of_examples(member, partial(Examples, self.data, rows.to(self.data.device), "actions"))

    def of_examples(self, member: Member, examples: Callable[[], Examples]) -> PolicyTask:
        """The training of a member's policy on any actions."""
        return Cloning(self.job, member, self.settings, self.target, examples, self.validation).task()
