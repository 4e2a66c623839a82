"""Batched rollouts of agents: every member plays the same levels, one episode a level, in a bounded number of slots."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamflow.envs.interface import VectorEnvironment
from lamflow.envs.turns import table_sizes, take_turns
from lamflow.policies.agents import Agent

NUM_SLOTS = 512
"""Episodes, at most, that run at once: enough to keep a simulator and a network busy, 6 MB of Procgen's frames."""
_IDLE = -1
MakeEnvironment = Callable[[int, Iterator[int]], VectorEnvironment]
"""(number of slots, level stream) to an environment whose slots take the stream's levels after their first."""


@dataclass(frozen=True)
class RolloutResult:
    """One row an episode, members x levels: ``members`` int64, ``level_ids`` int64, raw undiscounted ``returns`` float64,
    ``lengths`` int64 (transitions), ``success`` bool.

    An episode is a success when the task, not the step limit, ended it with a positive return. In a Procgen game that can
    only be won or lost (coinrun, maze, ...) that is a win. In one that pays many small rewards and ends by death or at the end
    of the level (starpilot, ...) it says no more than that some reward was found: there, the return is the measure.
    """

    members: NDArray[np.int64]
    level_ids: NDArray[np.int64]
    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]
    success: NDArray[np.bool_]


class _WaitingEpisodes:
    """Episodes (rows of the result) that have not begun, by level: members are interchangeable there.

    A slot that begins a level takes the first episode that waits for it, so it does not matter in which order an environment
    hands out the levels of its stream, nor whether its slots take them ahead.
    """

    def __init__(self, level_ids: NDArray[np.int64]) -> None:
        self._episodes: dict[int, deque[int]] = defaultdict(deque)
        for episode, level in enumerate(level_ids.tolist()):
            self._episodes[level].append(episode)

    def take(self, level_ids: NDArray[np.int64]) -> list[int]:
        """The episodes of slots that begin ``level_ids``, idle where none waits."""
        return [self._episodes[level].popleft() if self._episodes[level] else _IDLE for level in level_ids.tolist()]

    def __len__(self) -> int:
        return sum(map(len, self._episodes.values()))


@dataclass(frozen=True)
class _Outcome:
    """How an episode (a row of the result) ended."""

    episode: int
    total_reward: float
    length: int
    success: bool


class _Table:
    """Slots that are stepped together; ``members`` int64: of all episodes. Tables share the agent and the episodes that wait."""

    def __init__(
        self,
        agent: Agent,
        environment: VectorEnvironment,
        level_ids: NDArray[np.int64],
        waiting: _WaitingEpisodes,
        members: Tensor,
    ) -> None:
        self._agent, self._environment, self._waiting, self._members = agent, environment, waiting, members
        self._observation = environment.reset(level_ids)
        self._episodes = np.array(waiting.take(level_ids), np.int64)  # of the slots
        self._state = agent.initial_state(self._observation)
        self._actions = np.zeros(len(level_ids), np.int64)
        self._returns, self._lengths = np.zeros(len(level_ids)), np.zeros(len(level_ids), np.int64)

    @property
    def running(self) -> bool:
        return bool((self._episodes != _IDLE).any())

    def act(self) -> None:
        """Let the agent act in the slots that play; the others repeat what they did last."""
        slots = np.flatnonzero(self._episodes != _IDLE)
        index, members = torch.from_numpy(slots), self._members[self._episodes[slots]]
        chosen, part = self._agent.act(self._observation[slots], self._state[index], members)
        self._state.put(index, part)
        self._actions[slots] = chosen.numpy()
        self._environment.send(self._actions)

    def receive(self) -> list[_Outcome]:
        """The episodes that the last actions ended; their slots begin the next ones."""
        result = self._environment.receive()
        self._observation = result.observation
        self._returns += result.rewards
        self._lengths += 1
        ended = np.flatnonzero(result.terminated | result.truncated)
        outcomes = [
            _Outcome(
                episode=int(self._episodes[slot]),
                total_reward=float(self._returns[slot]),
                length=int(self._lengths[slot]),
                success=bool(result.terminated[slot] and self._returns[slot] > 0),
            )
            for slot in ended.tolist()
            if self._episodes[slot] != _IDLE
        ]
        self._returns[ended], self._lengths[ended] = 0, 0
        self._episodes[ended] = self._waiting.take(result.level_ids[ended])
        if len(begun := ended[self._episodes[ended] != _IDLE]):
            self._state.put(torch.from_numpy(begun), self._agent.initial_state(self._observation[begun]))
        return outcomes

    def close(self) -> None:
        self._environment.close()


def roll_out(
    agent: Agent, make_environment: MakeEnvironment, level_ids: NDArray[np.int64], *, num_slots: int = NUM_SLOTS
) -> RolloutResult:
    """Let every member of ``agent`` play one episode on each of ``level_ids`` [E]; the environments are closed afterwards.

    At most ``num_slots`` episodes run at once, and a slot that is done begins the next one, so what a deterministic agent
    reaches does not depend on their number. Slots for which no episode is left take no more part. The slots are shared out to
    two environments that take turns: the simulators of one step while the agent acts in the other.
    """
    members = torch.arange(agent.num_members).repeat_interleave(len(level_ids))
    levels = np.tile(level_ids, agent.num_members)
    result = RolloutResult(
        members=members.numpy(),
        level_ids=levels,
        returns=np.zeros(len(levels)),
        lengths=np.zeros(len(levels), np.int64),
        success=np.zeros(len(levels), np.bool_),
    )
    sizes, waiting = table_sizes(min(num_slots, len(levels))), _WaitingEpisodes(levels)
    *first, later = np.split(levels, np.cumsum(sizes))
    stream = iter(later.tolist())
    tables = [_Table(agent, make_environment(len(begun), stream), begun, waiting, members) for begun in first]
    for outcome in take_turns(tables):
        result.returns[outcome.episode] = outcome.total_reward
        result.lengths[outcome.episode] = outcome.length
        result.success[outcome.episode] = outcome.success
    assert not len(waiting), f"{len(waiting)} episodes were left out: the environment did not take its whole stream"
    return result
