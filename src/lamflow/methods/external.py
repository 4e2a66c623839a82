"""An agent that somebody else has made, as rollouts take agents.

Shapes: B rows of a batch, A entries of an action.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamflow.data.label_budgets import NO_LABELS
from lamflow.envs.gymnasium_facts import imported
from lamflow.envs.interface import Observation
from lamflow.envs.spec import EnvironmentSpec
from lamflow.methods.external_settings import ExternalMethodSettings
from lamflow.methods.jobs import Job
from lamflow.policies.agents import Agent, AgentState
from lamflow.policies.inputs import PolicyInputs
from lamflow.policies.members import Member
from lamflow.policies.settings import ActionSelection
from lamflow.spaces import Box, Discrete
from lamflow.training.precision import Precision

Acting = Callable[[Any], Any]


class External:
    """It learns nothing here."""

    def __init__(self, settings: ExternalMethodSettings) -> None:
        self.settings = settings

    def agent(self, job: Job, action_selection: ActionSelection) -> tuple[list[Member], Agent]:
        """The user's, one for all seeds; ValueError where it cannot be made."""
        return [Member(NO_LABELS, 0)], ExternalAgent(self.settings.agent, job.spec, job.method)


@dataclass
class _Episodes(AgentState):
    """With the agent object [B] that acts in each of the episodes."""

    acting: NDArray[np.object_]

    def __getitem__(self, rows: Tensor) -> _Episodes:
        return _Episodes(self.inputs, self.recurrent[rows], self.acting[rows.numpy()])

    def put(self, rows: Tensor, part: AgentState) -> None:
        assert isinstance(part, _Episodes)
        self.acting[rows.numpy()] = part.acting


class ExternalAgent(Agent):
    """Asked for an action of one observation after the other. One with a state, which has a ``reset``, is made anew for each episode."""

    num_members = 1
    precision: Precision | None = None

    def __init__(self, path: str, spec: EnvironmentSpec, method: str) -> None:
        self.path, self.spec, self.key = path, spec, f"methods.{method}.agent"
        self._function = imported(path, self.key)
        self._next: Acting | None = self._make()
        self._has_state = hasattr(self._next, "reset")

    def initial_state(self, observation: Observation) -> AgentState:
        count = len(observation)
        acting = np.empty(count, object)
        for row in range(count):
            acting[row] = self._for_an_episode()
        if self._has_state and len({id(each) for each in acting}) < count:
            raise ValueError(
                f"{self.key}: {self.path} answered the same agent twice, which has a state (`reset`), expected a new one for each running "
                "episode: make it in the function"
            )
        return _Episodes(PolicyInputs({}, torch.zeros(count, 0)), torch.zeros(count, 0), acting)

    def act(self, observation: Observation, state: AgentState, members: Tensor) -> tuple[Tensor, AgentState]:
        assert isinstance(state, _Episodes)
        parts = list(observation.parts.items())
        taken = np.empty((len(observation), *self.spec.action.shape), self.spec.action.dtype)
        for row, acting in enumerate(state.acting):
            seen = {name: part[row].copy() for name, part in parts}
            taken[row] = self._checked(acting(seen if len(seen) > 1 else next(iter(seen.values()))))
        return torch.from_numpy(taken), state

    def _make(self) -> Acting:
        made = self._function()
        if not callable(made):
            raise ValueError(
                f"{self.key}: {self.path} answered {made!r}, expected a callable from observations to actions"
            )
        return made

    def _for_an_episode(self) -> Acting:
        """The first one that was made, for all episodes where it has no state."""
        acting = self._next or self._make()
        if self._has_state:
            self._next = None
            acting.reset()  # type: ignore[attr-defined]
        return acting

    def _checked(self, action: Any) -> NDArray[Any]:
        """ValueError for what is no action of the environment."""
        space, found = self.spec.action, np.asarray(action)
        if isinstance(space, Discrete):
            sound = found.size == 1 and np.issubdtype(found.dtype, np.integer) and 0 <= found.item() < space.count
            wanted = f"an integer from 0 to {space.count - 1}"
        else:
            assert isinstance(space, Box)
            low, high = np.array(space.low, np.float32), np.array(space.high, np.float32)
            numbers = np.issubdtype(found.dtype, np.number) and found.shape == space.shape
            sound = numbers and bool(((found >= low) & (found <= high)).all())
            wanted = f"numbers {list(space.shape)} from {list(space.low)} to {list(space.high)}"
        if not sound:
            raise ValueError(f"{self.key}: {self.path} chose {action!r} in {self.spec.name}, expected {wanted}")
        return found.reshape(space.shape)
