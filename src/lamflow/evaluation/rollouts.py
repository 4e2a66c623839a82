"""Batched rollouts of agents: every member plays the same levels, one episode a level, in a bounded number of slots."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lamflow.envs.interface import VectorEnvironment
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


def roll_out(
    agent: Agent, make_environment: MakeEnvironment, level_ids: NDArray[np.int64], *, num_slots: int = NUM_SLOTS
) -> RolloutResult:
    """Let every member of ``agent`` play one episode on each of ``level_ids`` [E]; the environment is closed afterwards.

    At most ``num_slots`` episodes run at once, and a slot that is done begins the next one, so what a deterministic agent
    reaches does not depend on their number. Slots for which no episode is left take no more part.
    """
    members = torch.arange(agent.num_members).repeat_interleave(len(level_ids))
    levels = np.tile(level_ids, agent.num_members)
    total, count = len(levels), min(num_slots, len(levels))
    returns, lengths, success = np.zeros(total), np.zeros(total, np.int64), np.zeros(total, np.bool_)
    waiting = _WaitingEpisodes(levels)
    environment = make_environment(count, iter(levels[count:].tolist()))
    observation = environment.reset(levels[:count])
    episodes = np.array(waiting.take(levels[:count]), np.int64)  # of the slots
    state = agent.initial_state(observation)
    actions = np.zeros(count, np.int64)
    while len(slots := np.flatnonzero(episodes != _IDLE)):
        index, playing = torch.from_numpy(slots), episodes[slots]
        chosen, part = agent.act(observation[slots], state[index], members[playing])
        state.put(index, part)
        actions[slots] = chosen.numpy()
        result = environment.step(actions)
        observation, ended = result.observation, result.terminated | result.truncated
        returns[playing] += result.rewards[slots]
        lengths[playing] += 1
        success[playing] = result.terminated[slots] & (returns[playing] > 0)
        episodes[ended] = waiting.take(result.level_ids[ended])
        if len(begun := np.flatnonzero(ended & (episodes != _IDLE))):
            state.put(torch.from_numpy(begun), agent.initial_state(observation[begun]))
    environment.close()
    assert not len(waiting), f"{len(waiting)} episodes were left out: the environment did not take its whole stream"
    return RolloutResult(members.numpy(), levels, returns, lengths, success)
