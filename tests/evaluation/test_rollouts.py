"""Rollouts against an environment whose episodes are scripted: what counts, for whom, and until when."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamflow.catalogue import EnvironmentSpec, environment_spec
from lamflow.envs.interface import Observation, StepResult
from lamflow.evaluation.rollouts import RolloutResult, roll_out
from lamflow.policies.agents import AgentState, RandomAgent


@dataclass(frozen=True)
class Script:
    """The rewards of an episode, and whether the task (or the step limit) ends it."""

    rewards: tuple[float, ...]
    by_task: bool


SCRIPTS = {
    7: Script((0.0, 0.0, 0.75), by_task=True),
    3: Script((0.5,), by_task=True),
    9: Script((0.5, 0.25, 0.0, 0.0), by_task=False),
    4: Script((0.0, -1.0), by_task=True),
    5: Script((0.0,) * 6, by_task=False),
}
LEVELS = np.array(list(SCRIPTS))


class ScriptedEnvironment:
    """Plays the script of each slot's level over and over; frames hold the level and the step of the running episode."""

    spec: EnvironmentSpec = environment_spec("xland-doorkey-5x5")

    def __init__(self, num_envs: int) -> None:
        self.num_envs = num_envs
        self.levels = self.steps = np.zeros(num_envs, np.int64)
        self.actions: list[list[int]] = []

    def reset(self, level_ids: NDArray[np.int64]) -> Observation:
        self.levels, self.steps = level_ids.copy(), np.zeros(self.num_envs, np.int64)
        self.actions = [[] for _ in range(self.num_envs)]
        return self._observe()

    def step(self, actions: NDArray[np.int64]) -> StepResult:
        for taken, action in zip(self.actions, actions, strict=True):
            taken.append(int(action))
        scripts = [SCRIPTS[int(level)] for level in self.levels]
        rewards = np.array([s.rewards[step] for s, step in zip(scripts, self.steps, strict=True)], np.float32)
        self.steps = self.steps + 1
        ended = np.array([step == len(s.rewards) for s, step in zip(scripts, self.steps, strict=True)])
        by_task = np.array([s.by_task for s in scripts])
        self.steps[ended] = 0
        return StepResult(self._observe(), None, rewards, ended & by_task, ended & ~by_task, self.levels.copy())

    def close(self) -> None: ...

    def _observe(self) -> Observation:
        frames = np.zeros((self.num_envs, 5, 5, 2), np.uint8)
        frames[:, 0, 0, 0], frames[:, 0, 0, 1] = self.levels, self.steps
        return Observation(frames, np.zeros((self.num_envs, 3), np.uint8), np.zeros((self.num_envs, 0), np.uint8))


class CountingAgent:
    """Acts by member and step, and counts the steps of each row's episode in its state."""

    def __init__(self, num_members: int) -> None:
        self.num_members = num_members
        self.rows: list[int] = []

    def initial_state(self, observation: Observation) -> AgentState:
        empty = torch.zeros(len(observation), 0)
        return AgentState(empty, empty, empty, torch.zeros(len(observation), 1))

    def act(self, observation: Observation, state: AgentState, members: Tensor) -> tuple[Tensor, AgentState]:
        assert (state.recurrent[:, 0].numpy() == observation.frames[:, 0, 0, 1]).all(), "the state is of this episode"
        self.rows.append(len(observation))
        advanced = AgentState(state.frames, state.proprioception, state.begun, state.recurrent + 1)
        return members * 2 + state.recurrent[:, 0].long() % 2, advanced


@pytest.fixture
def played() -> tuple[RolloutResult, ScriptedEnvironment, CountingAgent]:
    agent, environment = CountingAgent(3), ScriptedEnvironment(3 * len(LEVELS))
    return roll_out(agent, environment, LEVELS), environment, agent


Played = tuple[RolloutResult, ScriptedEnvironment, CountingAgent]


def test_every_member_plays_the_same_levels_once(played: Played) -> None:
    result, environment, _ = played
    assert result.level_ids.tolist() == LEVELS.tolist() * 3 == environment.levels.tolist()
    assert result.members.tolist() == [0] * 5 + [1] * 5 + [2] * 5


def test_rewards_after_an_episode_do_not_count(played: Played) -> None:
    """Slots whose episode has ended play on, until the longest one has."""
    result, environment, _ = played
    assert {len(taken) for taken in environment.actions} == {6}
    assert result.returns.tolist() == [0.75, 0.5, 0.75, -1.0, 0.0] * 3
    assert result.lengths.tolist() == [3, 1, 4, 2, 6] * 3
    assert result.returns.dtype == np.float64 and result.lengths.dtype == np.int64


def test_success_is_a_task_that_ended_with_a_positive_return(played: Played) -> None:
    """Neither rewards before the step limit nor a task that ended in failure."""
    result, _, _ = played
    assert result.success.tolist() == [True, True, False, False, False] * 3


def test_only_running_episodes_are_acted_on(played: Played) -> None:
    _, _, agent = played
    assert agent.rows == [15, 12, 9, 6, 3, 3]


def test_each_slot_gets_the_actions_of_its_member(played: Played) -> None:
    result, environment, _ = played
    for member, length, taken in zip(result.members, result.lengths, environment.actions, strict=True):
        assert taken[:length] == [2 * member + step % 2 for step in range(length)]


def test_small_rewards_are_summed_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCRIPTS, 8, Script((0.1,) * 1000, by_task=False))
    result = roll_out(RandomAgent(num_actions=6, seed=0), ScriptedEnvironment(1), np.array([8]))
    assert result.returns[0] == 1000 * np.float64(np.float32(0.1))


def test_the_random_agent_plays() -> None:
    environment = ScriptedEnvironment(len(LEVELS))
    result = roll_out(RandomAgent(num_actions=6, seed=0), environment, LEVELS)
    assert result.lengths.tolist() == [3, 1, 4, 2, 6]
    assert {action for taken in environment.actions for action in taken} <= set(range(6))


def test_an_environment_of_another_size_is_a_mistake() -> None:
    with pytest.raises(AssertionError, match="environment has 5 slots, 10 needed"):
        roll_out(CountingAgent(2), ScriptedEnvironment(5), LEVELS)
