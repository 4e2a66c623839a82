"""Agents as they act in the slots of a table, with what they remember of each episode."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamflow.envs.interface import Observation
from lamflow.play.episodes import Actor
from lamflow.policies.agents import Agent, AgentState


class AgentActor(Actor):
    """An agent asked for the slots that play alone; the others repeat what they did last. ``members`` int64: of all episodes."""

    def __init__(self, agent: Agent, members: Tensor, num_slots: int) -> None:
        self._agent, self._members_of_episodes = agent, members
        self._members = torch.zeros(num_slots, dtype=torch.int64)
        self._actions: NDArray[Any] | None = None
        self._state: AgentState | None = None

    def begin(self, slots: NDArray[np.int64], episodes: NDArray[np.int64], observation: Observation) -> None:
        index, state = torch.from_numpy(slots), self._agent.initial_state(observation)
        self._members[index] = self._members_of_episodes[episodes]
        if self._state is None:
            self._state = state
        else:
            self._state.put(index, state)

    def act(self, slots: NDArray[np.int64], observation: Observation) -> NDArray[Any]:
        assert self._state is not None, "act before begin"
        index = torch.from_numpy(slots)
        chosen, part = self._agent.act(observation[slots], self._state[index], self._members[index])
        self._state.put(index, part)
        if self._actions is None:  # all slots play at first
            self._actions = np.zeros((len(self._members), *chosen.shape[1:]), chosen.numpy().dtype)
        self._actions[slots] = chosen.numpy()
        return self._actions

    def keep(self, slots: NDArray[np.int64]) -> None:
        assert self._state is not None, "keep before begin"
        index = torch.from_numpy(slots)
        self._state, self._members = self._state[index], self._members[index]
        self._actions = self._actions[slots] if self._actions is not None else None
