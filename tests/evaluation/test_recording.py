"""Recorded and replayed episodes of single agents."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lamflow.envs.interface import Observation, StepResult, VectorEnvironment
from lamflow.envs.presets import preset
from lamflow.evaluation.recording import record_agent, replay
from lamflow.policies.agents import AgentState
from lamflow.policies.inputs import PolicyInputs


def seen(count: int) -> Observation:
    """An observation that says how many steps were taken before it."""
    return Observation(
        {"frames": np.full((1, 5, 5, 2), count, np.uint8), "proprioception": np.full((1, 3), count, np.uint8)}
    )


class Corridor(VectorEnvironment):
    """An episode ends with the level's number of forward actions (0), by the task; each of them is worth 1."""

    spec = preset("xland-doorkey-5x5")
    num_envs = 1

    def __init__(self, *, keeps_final: bool = True) -> None:
        self.keeps_final = keeps_final

    def reset(self, level_ids: NDArray[np.int64]) -> Observation:
        self.steps, self.left = 0, int(level_ids[0])
        return seen(0)

    def send(self, actions: NDArray[np.int64]) -> None:
        assert actions.shape == (1,)
        self.actions = actions.copy()

    def receive(self) -> StepResult:
        forward = self.actions[0] == 0
        self.steps, self.left = self.steps + 1, self.left - int(forward)
        ended = np.array([self.left == 0])
        final = (seen(self.steps) if self.keeps_final else None) if ended[0] else None
        after = seen(0) if ended[0] else seen(self.steps)
        return StepResult(
            after, final, np.array([forward], np.float32), ended, np.array([False]), np.zeros(1, np.int64)
        )

    def close(self) -> None: ...


class EverySecond:
    """Member 0 goes forward at every second step, member 1 at each; the state is the number of steps."""

    num_members = 2

    def initial_state(self, observation: Observation) -> AgentState:
        zero = torch.zeros(len(observation), 1)
        return AgentState(PolicyInputs({}, zero), zero)

    def act(
        self, observation: Observation, state: AgentState, members: torch.Tensor
    ) -> tuple[torch.Tensor, AgentState]:
        waits = (state.recurrent[:, 0] % 2 == 0) & (members == 0)
        return waits.long(), AgentState(state.inputs, state.recurrent + 1)


@pytest.mark.parametrize(("member", "actions"), [(0, [1, 0, 1, 0]), (1, [0, 0])])
def test_a_record_holds_the_members_actions_and_every_observation(member: int, actions: list[int]) -> None:
    episode = record_agent(EverySecond(), member, Corridor(), 2)
    assert episode.actions.tolist() == actions
    assert episode.total_reward == 2
    assert episode.observations["frames"][:, 0, 0, 0].tolist() == list(range(len(actions) + 1))
    assert episode.observations["proprioception"].tolist() == [[count] * 3 for count in range(len(actions) + 1)]
    assert (episode.terminated, episode.truncated, episode.level_id) == (True, False, 2)


def test_a_swallowed_final_observation_is_left_out() -> None:
    episode = record_agent(EverySecond(), 1, Corridor(keeps_final=False), 3)
    assert episode.observations["frames"][:, 0, 0, 0].tolist() == [0, 1, 2]
    assert episode.length == 3


def test_a_replay_repeats_the_episode() -> None:
    episode = record_agent(EverySecond(), 0, Corridor(), 3)
    again = replay(episode.actions, Corridor(), 3)
    np.testing.assert_array_equal(again.observations["frames"], episode.observations["frames"])
    assert again.terminated


@pytest.mark.parametrize(
    ("actions", "message"), [([0, 1], "has not ended after the 2"), ([0, 0, 0], "after 2 of the 3")]
)
def test_a_replay_that_goes_another_way_is_refused(actions: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replay(np.array(actions), Corridor(), 2)
