"""Uniformly random actions."""

from __future__ import annotations

from lamflow.data.label_budgets import NO_LABELS
from lamflow.methods.jobs import Job
from lamflow.methods.random_settings import RandomMethodSettings
from lamflow.policies.agents import Agent, RandomAgent
from lamflow.policies.members import Member
from lamflow.policies.settings import ActionSelection


class Random:
    """It learns nothing."""

    def __init__(self, settings: RandomMethodSettings) -> None:
        self.settings = settings

    def agent(self, job: Job, action_selection: ActionSelection) -> tuple[list[Member], Agent]:
        """It draws from all actions."""
        return [Member(NO_LABELS, 0)], RandomAgent(job.space, seed=job.seed)
