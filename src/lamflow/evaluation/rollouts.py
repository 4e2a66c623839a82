"""Batched rollouts of agents: every member plays the same levels, one episode a level, all at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lamflow.envs.interface import VectorEnvironment
from lamflow.policies.agents import Agent


@dataclass(frozen=True)
class RolloutResult:
    """One row an episode, members x levels: ``members`` int64, ``level_ids`` int64, raw undiscounted ``returns`` float64,
    ``lengths`` int64 (transitions), ``success`` bool (the task, not the step limit, ended the episode with a positive return)."""

    members: NDArray[np.int64]
    level_ids: NDArray[np.int64]
    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]
    success: NDArray[np.bool_]


def roll_out(agent: Agent, environment: VectorEnvironment, level_ids: NDArray[np.int64]) -> RolloutResult:
    """Let every member of ``agent`` play one episode on each of ``level_ids`` [E].

    ``environment`` must have members x E slots. A slot whose episode has ended takes no more part; rewards after it do not count.
    """
    num_levels = len(level_ids)
    total = agent.num_members * num_levels
    assert environment.num_envs == total, f"environment has {environment.num_envs} slots, {total} needed"
    members = torch.arange(agent.num_members).repeat_interleave(num_levels)
    levels = np.tile(level_ids, agent.num_members)
    returns, lengths = np.zeros(total), np.zeros(total, dtype=np.int64)
    success, running = np.zeros(total, dtype=bool), np.ones(total, dtype=bool)
    observation = environment.reset(levels)
    state = agent.initial_state(observation)
    actions = np.zeros(total, dtype=np.int64)
    while running.any():
        rows = np.flatnonzero(running)
        index = torch.from_numpy(rows)
        chosen, part = agent.act(observation[rows], state[index], members[index])
        state.put(index, part)
        actions[rows] = chosen.numpy()
        result = environment.step(actions)
        returns[rows] += result.rewards[rows]
        lengths[rows] += 1
        success[rows] |= result.terminated[rows] & (returns[rows] > 0)
        running &= ~(result.terminated | result.truncated)
        observation = result.observation
    return RolloutResult(members.numpy(), levels, returns, lengths, success)
