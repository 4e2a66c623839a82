"""Behaviour cloning on the true action of every transition."""

from __future__ import annotations

from lamflow.data.label_budgets import ALL_LABELS
from lamflow.methods.acting import cloned_agent
from lamflow.methods.cloning import ActionCloning
from lamflow.methods.jobs import Job, Policies
from lamflow.methods.oracle_bc_settings import OracleMethodSettings
from lamflow.policies.agents import Agent
from lamflow.policies.members import Member
from lamflow.policies.settings import ActionSelection


class OracleCloning:
    """One policy, of all labels."""

    def __init__(self, settings: OracleMethodSettings) -> None:
        self.settings = settings

    def policies(self, job: Job) -> Policies:
        """One, on every action of the train split that is known; ValueError where none is."""
        cloning = ActionCloning(job, self.settings.policy)
        rows = cloning.data.action_rows
        if not len(rows):
            raise ValueError(
                f"{job.file('train')}: found no row whose action is known, expected one at least, as {job.method} clones them: record "
                "actions, or leave the method out for this environment"
            )
        return Policies([cloning.of_rows(Member(ALL_LABELS, 0), rows)])

    def agent(self, job: Job, action_selection: ActionSelection) -> tuple[list[Member], Agent]:
        """It plays by its policy."""
        return cloned_agent(job, self.settings.action_selection or action_selection)
