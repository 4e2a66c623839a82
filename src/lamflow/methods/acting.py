"""How methods act: agents out of their files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from lamflow.methods.jobs import Job
from lamflow.policies.agents import ActingNetwork, Agent, PolicyAgent
from lamflow.policies.decoders import Decode, no_decode
from lamflow.policies.members import Member, read_policies
from lamflow.policies.settings import ActionSelection


class Acts(Protocol):
    """Every method."""

    def agent(self, job: Job, action_selection: ActionSelection) -> tuple[list[Member], Agent]:
        """The members and the agent, from the files of the job; ValueError when these do not belong together or to the job."""
        ...


def cloned_agent(job: Job, action_selection: ActionSelection) -> tuple[list[Member], Agent]:
    """Of policies in true actions."""
    members, networks = read_policies(job.file("policy"), job.spec, method=job.method, seed=job.seed)
    space = job.space.learnt_by(networks[0].settings.box_loss)
    return members, policy_agent(job, networks, members, no_decode(space), action_selection)


def labelled_agent(job: Job, action_selection: ActionSelection) -> tuple[list[Member], Agent]:
    """Of policies in true actions, one per label count and draw."""
    members, agent = cloned_agent(job, action_selection)
    check_members(job, members, "policy")
    return members, agent


def policy_agent(
    job: Job,
    networks: Sequence[ActingNetwork],
    members: Sequence[Member],
    decode: Decode,
    action_selection: ActionSelection,
    *,
    decodes_features: bool = False,
) -> PolicyAgent:
    """An agent whose networks answer what ``decode`` takes."""
    return PolicyAgent(
        networks=networks,
        num_members=len(members),
        space=job.space,
        decode=decode,
        action_selection=action_selection,
        seed=job.seed,
        decodes_features=decodes_features,
    )


def check_members(job: Job, members: Sequence[Member], artefact: str) -> None:
    """ValueError unless a file holds the label counts and draws of the job."""
    if list(members) != job.members:
        raise ValueError(
            f"{job.file(artefact)}: holds other label counts or draws than the configuration; train it again"
        )
