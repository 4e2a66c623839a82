"""Rollouts against an environment whose episodes are scripted: what counts, for whom, and until when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamflow.envs.interface import Observation, StepResult, VectorEnvironment
from lamflow.envs.levels import draw_levels
from lamflow.envs.presets import preset
from lamflow.envs.registry import make_vector_environment
from lamflow.envs.spec import EnvironmentSpec
from lamflow.evaluation.rollouts import RolloutResult, roll_out
from lamflow.policies.actions import DiscreteActions
from lamflow.policies.agents import AgentState, RandomAgent
from lamflow.policies.inputs import PolicyInputs


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


class ScriptedEnvironment(VectorEnvironment):
    """Plays the script of each slot's level; frames hold the level and the step of the running episode.

    Slots take their levels from the stream when an episode ends, as Procgen's do, or ``ahead``, as XLand's do; when it has run
    dry they repeat the last one.
    """

    spec: EnvironmentSpec = preset("xland-doorkey-5x5")

    def __init__(self, num_envs: int, level_stream: Iterator[int], *, ahead: bool = False) -> None:
        self.num_envs, self.stream, self.ahead = num_envs, level_stream, ahead
        self.levels = self.upcoming = self.steps = np.zeros(num_envs, np.int64)
        self.actions: list[list[int]] = []
        self.busy = self.closed = False  # busy: actions have been sent and not been answered

    def reset(self, level_ids: NDArray[np.int64]) -> Observation:
        self.levels, self.upcoming = level_ids.copy(), level_ids.copy()
        self.steps = np.zeros(self.num_envs, np.int64)
        self.actions = [[] for _ in range(self.num_envs)]
        if self.ahead:
            self._draw(np.arange(self.num_envs))
        return self._observe()

    def _draw(self, slots: NDArray[np.int64]) -> None:
        for slot, level in zip(slots, self.stream, strict=False):
            self.upcoming[slot] = level

    def send(self, actions: NDArray[np.int64]) -> None:
        assert not self.busy
        self.busy = True
        for taken, action in zip(self.actions, actions, strict=True):
            taken.append(int(action))

    def receive(self) -> StepResult:
        assert self.busy
        self.busy = False
        scripts = [SCRIPTS[int(level)] for level in self.levels]
        rewards = np.array([s.rewards[step] for s, step in zip(scripts, self.steps, strict=True)], np.float32)
        self.steps = self.steps + 1
        ended = np.array([step == len(s.rewards) for s, step in zip(scripts, self.steps, strict=True)])
        by_task = np.array([s.by_task for s in scripts])
        self.steps[ended] = 0
        slots = np.flatnonzero(ended)
        if not self.ahead:
            self._draw(slots)
        self.levels[slots] = self.upcoming[slots]
        if self.ahead:
            self._draw(slots)
        return StepResult(self._observe(), None, rewards, ended & by_task, ended & ~by_task, self.levels.copy())

    def close(self) -> None:
        self.closed = True

    def _observe(self) -> Observation:
        frames = np.zeros((self.num_envs, 5, 5, 2), np.uint8)
        frames[:, 0, 0, 0], frames[:, 0, 0, 1] = self.levels, self.steps
        return Observation({"frames": frames, "proprioception": np.zeros((self.num_envs, 3), np.uint8)})


class CountingAgent:
    """Acts by member and step, and counts the steps of each row's episode in its state."""

    def __init__(self, num_members: int) -> None:
        self.num_members = num_members
        self.rows: list[int] = []

    def initial_state(self, observation: Observation) -> AgentState:
        empty = torch.zeros(len(observation), 0)
        return AgentState(PolicyInputs({}, empty), torch.zeros(len(observation), 1))

    def act(self, observation: Observation, state: AgentState, members: Tensor) -> tuple[Tensor, AgentState]:
        assert (state.recurrent[:, 0].numpy() == observation.parts["frames"][:, 0, 0, 1]).all(), (
            "the state is of this episode"
        )
        self.rows.append(len(observation))
        advanced = AgentState(state.inputs, state.recurrent + 1)
        return members * 2 + state.recurrent[:, 0].long() % 2, advanced


Played = tuple[RolloutResult, list[ScriptedEnvironment], CountingAgent]


class Factory:
    """Makes scripted environments, and keeps them."""

    def __init__(self, *, ahead: bool = False) -> None:
        self.ahead = ahead
        self.made: list[ScriptedEnvironment] = []

    def __call__(self, num_envs: int, level_stream: Iterator[int]) -> VectorEnvironment:
        self.made.append(ScriptedEnvironment(num_envs, level_stream, ahead=self.ahead))
        return self.made[-1]


def play(num_members: int, num_slots: int = 512, *, ahead: bool = False) -> Played:
    """Members of the counting agent on all levels."""
    agent, factory = CountingAgent(num_members), Factory(ahead=ahead)
    return roll_out(agent, factory, LEVELS, num_slots=num_slots), factory.made, agent


@pytest.fixture
def played() -> Played:
    """Four members in two environments, a slot an episode."""
    return play(4)


def test_every_member_plays_the_same_levels_once(played: Played) -> None:
    result, environments, _ = played
    assert [environment.levels.tolist() for environment in environments] == [LEVELS.tolist() * 2] * 2
    assert result.level_ids.tolist() == LEVELS.tolist() * 4
    assert result.members.tolist() == [0] * 5 + [1] * 5 + [2] * 5 + [3] * 5


def test_rewards_after_an_episode_do_not_count(played: Played) -> None:
    """Slots whose episode has ended play on, until the longest one has."""
    result, environments, _ = played
    assert {len(taken) for environment in environments for taken in environment.actions} == {6}
    assert result.returns.tolist() == [0.75, 0.5, 0.75, -1.0, 0.0] * 4
    assert result.lengths.tolist() == [3, 1, 4, 2, 6] * 4
    assert result.returns.dtype == np.float64 and result.lengths.dtype == np.int64


def test_success_is_a_task_that_ended_with_a_positive_return(played: Played) -> None:
    """Neither rewards before the step limit nor a task that ended in failure."""
    result, _, _ = played
    assert result.success.tolist() == [True, True, False, False, False] * 4


def test_only_running_episodes_are_acted_on(played: Played) -> None:
    _, _, agent = played
    assert agent.rows == [10, 10, 8, 8, 6, 6, 4, 4, 2, 2, 2, 2]


def test_each_slot_gets_the_actions_of_its_member(played: Played) -> None:
    result, environments, _ = played
    actions = [taken for environment in environments for taken in environment.actions]
    for member, length, taken in zip(result.members, result.lengths, actions, strict=True):
        assert taken[:length] == [2 * member + step % 2 for step in range(length)]


@pytest.mark.parametrize("ahead", [False, True], ids=["at the end", "ahead"])
@pytest.mark.parametrize("num_slots, sizes", [(1, [1]), (2, [1, 1]), (3, [1, 1]), (7, [3, 3]), (18, [9, 9])])
def test_results_do_not_depend_on_the_number_of_slots(
    num_slots: int, sizes: list[int], ahead: bool, played: Played
) -> None:
    """Nor on when the environments take levels from their stream; the agent checks that each state is of its row's episode."""
    result, environments, agent = play(4, num_slots, ahead=ahead)
    assert [environment.num_envs for environment in environments] == sizes and max(agent.rows) == sizes[0]
    for name, expected in vars(played[0]).items():
        np.testing.assert_array_equal(getattr(result, name), expected, name)
    assert sum(agent.rows) == result.lengths.sum(), "every episode was played once"


def test_slots_stay_busy_until_no_episode_is_left() -> None:
    """48 steps on 2 x 2 slots: 12 at each table would do if episodes could be cut."""
    _, _, agent = play(3, 4)
    assert agent.rows[:20] == [2] * 20 and len(agent.rows) <= 32


def test_while_one_environment_steps_the_agent_acts_in_the_other() -> None:
    factory, busy = Factory(), list[int]()

    class WatchingAgent(CountingAgent):
        def act(self, observation: Observation, state: AgentState, members: Tensor) -> tuple[Tensor, AgentState]:
            busy.append(sum(environment.busy for environment in factory.made))
            return super().act(observation, state, members)

    roll_out(WatchingAgent(2), factory, LEVELS)
    assert busy == [0, *[1] * 11], "12 calls, 6 at each table"


def test_environments_are_closed_when_the_agent_fails() -> None:
    class FailingAgent(CountingAgent):
        def act(self, observation: Observation, state: AgentState, members: Tensor) -> tuple[Tensor, AgentState]:
            if len(self.rows) == 3:
                raise RuntimeError("out of ideas")
            return super().act(observation, state, members)

    factory = Factory()
    with pytest.raises(RuntimeError, match="out of ideas"):
        roll_out(FailingAgent(2), factory, LEVELS)
    assert [environment.closed for environment in factory.made] == [True, True]


def test_levels_that_repeat_are_played_as_often_as_they_are_listed() -> None:
    levels = np.array([3, 7, 3, 3])
    for num_slots in (1, 3, 8):
        result = roll_out(CountingAgent(2), ScriptedEnvironment, levels, num_slots=num_slots)
        assert result.level_ids.tolist() == [3, 7, 3, 3] * 2
        assert result.lengths.tolist() == [1, 3, 1, 1] * 2


def test_an_environment_that_leaves_levels_out_is_a_mistake() -> None:
    with pytest.raises(AssertionError, match="6 episodes were left out"):
        roll_out(CountingAgent(2), lambda num_envs, _: ScriptedEnvironment(num_envs, iter(())), LEVELS, num_slots=2)


def test_small_rewards_are_summed_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCRIPTS, 8, Script((0.1,) * 1000, by_task=False))
    result = roll_out(RandomAgent(DiscreteActions(6), seed=0), ScriptedEnvironment, np.array([8]))
    assert result.returns[0] == 1000 * np.float64(np.float32(0.1))


class FrameAgent:
    """Acts by the colours it sees; members differ."""

    num_members = 2

    def initial_state(self, observation: Observation) -> AgentState:
        empty = torch.zeros(len(observation), 0)
        return AgentState(PolicyInputs({}, empty), empty)

    def act(self, observation: Observation, state: AgentState, members: Tensor) -> tuple[Tensor, AgentState]:
        seen = torch.from_numpy(observation.parts["frames"].reshape(len(observation), -1).sum(1, dtype=np.int64))
        return (seen // 7 + 5 * members) % 15, state


GAME = "procgen-leaper"


def make_game(num_slots: int, level_stream: Iterator[int]) -> VectorEnvironment:
    return make_vector_environment(preset(GAME), num_slots, level_stream=level_stream)


def test_a_deterministic_agent_reaches_the_same_in_a_procgen_game_by_any_number_of_slots() -> None:
    levels = draw_levels(preset(GAME), "test", 4, seed=0)
    results = [roll_out(FrameAgent(), make_game, levels, num_slots=num_slots) for num_slots in (8, 3)]
    for name, expected in vars(results[0]).items():
        np.testing.assert_array_equal(getattr(results[1], name), expected, name)
    assert results[0].lengths[:4].tolist() != results[0].lengths[4:].tolist(), "members play differently"


def test_the_random_agent_plays_a_procgen_game_and_repeats_with_its_seed() -> None:
    levels = draw_levels(preset(GAME), "test", 6, seed=0)
    draws = [
        roll_out(RandomAgent(DiscreteActions(15), seed=seed), make_game, levels, num_slots=4) for seed in (0, 0, 1)
    ]
    assert draws[0].lengths.tolist() == draws[1].lengths.tolist() != draws[2].lengths.tolist()
    assert draws[0].level_ids.tolist() == levels.tolist()
    assert (draws[0].lengths >= 1).all() and (draws[0].lengths <= 500).all()
    np.testing.assert_array_equal(draws[0].success, draws[0].returns > 0, "leaper pays for reaching the goal only")


def test_the_random_agent_plays() -> None:
    factory = Factory()
    result = roll_out(RandomAgent(DiscreteActions(6), seed=0), factory, LEVELS)
    assert result.lengths.tolist() == [3, 1, 4, 2, 6]
    assert {action for made in factory.made for taken in made.actions for action in taken} <= set(range(6))
