"""Batched rollouts of agents: every member plays the same levels, one episode a level, in a bounded number of slots."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from lamflow.envs.interface import Observation, StepResult
from lamflow.play.agents import AgentActor
from lamflow.play.episodes import MakeEnvironment, Recorder, play
from lamflow.policies.agents import Agent

NUM_SLOTS = 512
"""Episodes, at most, that run at once: enough to keep a simulator and a network busy, 6 MB of Procgen's frames."""


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


class _Outcome(NamedTuple):
    """How an episode ended."""

    total_reward: float
    length: int
    success: bool


class _Totals(Recorder[_Outcome]):
    """Return and length of the episodes in the slots of a table."""

    def __init__(self, num_slots: int) -> None:
        self._returns, self._lengths = np.zeros(num_slots), np.zeros(num_slots, np.int64)

    def see(self, slots: NDArray[np.int64], observation: Observation, actions: NDArray[np.int64]) -> None:
        """Nothing of it is kept."""

    def keep_outcome(self, slots: NDArray[np.int64], result: StepResult) -> None:
        self._returns[slots] += result.rewards[slots]
        self._lengths[slots] += 1

    def end(self, slot: int, level_id: int, result: StepResult) -> _Outcome:
        total_reward, length = float(self._returns[slot]), int(self._lengths[slot])
        self._returns[slot], self._lengths[slot] = 0, 0
        return _Outcome(total_reward, length, bool(result.terminated[slot] and total_reward > 0))

    def keep(self, slots: NDArray[np.int64]) -> None:
        self._returns, self._lengths = self._returns[slots], self._lengths[slots]


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
    played = play(make_environment, partial(AgentActor, agent, members), _Totals, levels, num_slots=num_slots)
    for episode, (total_reward, length, success) in played:
        result.returns[episode], result.lengths[episode], result.success[episode] = total_reward, length, success
    return result
