"""Agents of a union of environments in one of them, whose observations may have more parts, and other names."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lamflow.envs.interface import Observation
from lamflow.envs.spec import EnvironmentSpec
from lamflow.policies.agents import Agent, AgentState
from lamflow.training.precision import Precision


def agent_in(agent: Agent, learnt: EnvironmentSpec, played: EnvironmentSpec) -> Agent:
    """An agent of the environment ``learnt`` as it plays ``played``, which is the same or has all that it sees."""
    return agent if learnt == played else _AgentElsewhere(agent, learnt, played)


@dataclass(frozen=True)
class _AgentElsewhere(Agent):
    agent: Agent
    learnt: EnvironmentSpec
    played: EnvironmentSpec

    @property
    def num_members(self) -> int:  # type: ignore[override]
        return self.agent.num_members

    @property
    def precision(self) -> Precision | None:  # type: ignore[override]
        return self.agent.precision

    def initial_state(self, observation: Observation) -> AgentState:
        return self.agent.initial_state(self._seen(observation))

    def act(self, observation: Observation, state: AgentState, members: Tensor) -> tuple[Tensor, AgentState]:
        return self.agent.act(self._seen(observation), state, members)

    def _seen(self, observation: Observation) -> Observation:
        """The parts that the agent has learnt from, by the names that they had there."""
        learnt, played = self.learnt, self.played
        names = {name: played.main if name == learnt.main else name for name in learnt.observation}
        return Observation({name: observation.parts[theirs] for name, theirs in names.items()})
