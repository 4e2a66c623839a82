"""Behaviour cloning on few labels."""

from __future__ import annotations

from lamflow.methods.acting import labelled_agent
from lamflow.methods.bc_settings import BcMethodSettings
from lamflow.methods.cloning import ActionCloning
from lamflow.methods.jobs import Job, Policies
from lamflow.policies.agents import Agent
from lamflow.policies.members import Member
from lamflow.policies.settings import ActionSelection


class BehaviourCloning:
    """A policy per label count and draw, of the labelled transitions alone."""

    def __init__(self, settings: BcMethodSettings) -> None:
        self.settings = settings

    def policies(self, job: Job) -> Policies:
        """One for each member, on its labels."""
        cloning = ActionCloning(job, self.settings.policy)
        _, labelled = job.labels_of_members()
        return Policies([cloning.of_rows(member, rows) for member, rows in zip(job.members, labelled, strict=True)])

    def agent(self, job: Job, action_selection: ActionSelection) -> tuple[list[Member], Agent]:
        """Each member plays by its own policy."""
        return labelled_agent(job, self.settings.action_selection or action_selection)
