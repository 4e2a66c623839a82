"""Contexts drawn from episodes are what an agent remembers in a rollout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lamflow.data.store import EpisodeArrays
from lamflow.data.tensors import EpisodeTensors
from lamflow.data.windows import TRANSITION
from lamflow.envs.interface import Observation
from lamflow.envs.presets import preset
from lamflow.envs.spec import EnvironmentSpec
from lamflow.policies.actions import DiscreteActions
from lamflow.policies.agents import PolicyAgent
from lamflow.policies.dataset import policy_inputs, policy_window
from lamflow.policies.inputs import PolicyInputs
from lamflow.policies.network import PolicyNetwork
from lamflow.policies.settings import PolicySettings

SPEC = preset("xland-r1-9x9")


def numbered_episodes(*lengths: int) -> EpisodeArrays:
    """Episodes of ``lengths`` rows whose frames and proprioception hold the row's number."""
    rows = sum(lengths)
    numbers = np.arange(rows, dtype=np.uint8)
    nothing = np.zeros(rows, np.bool_)
    return EpisodeArrays(
        observations={
            "frames": np.broadcast_to(numbers[:, None, None, None], (rows, *SPEC.frame_shape)) % 12,
            "proprioception": np.stack([numbers % 4, numbers % 13, numbers % 12], axis=1),
            "task": np.broadcast_to(np.array([3, 4, 7, 5, 1], np.uint8), (rows, 5)).copy(),
        },
        actions=np.zeros(rows, np.int64),
        acted=np.ones(rows, np.bool_),
        rewards=np.zeros(rows, np.float32),
        terminated=nothing,
        truncated=nothing,
        episode_starts=np.cumsum([0, *lengths[:-1]]),
        level_seeds=np.arange(len(lengths)),
    )


def settings_of(**changes: Any) -> PolicySettings:
    network = {"width": 8, "layers": 2, "embedding_dim": 4, "hidden_width": 16}
    return PolicySettings.model_validate({"network": network} | changes)


def inputs_of(
    arrays: EpisodeArrays, rows: Tensor, settings: PolicySettings, spec: EnvironmentSpec = SPEC
) -> PolicyInputs:
    windows = EpisodeTensors(arrays).part(policy_window(settings, spec), rows)
    return policy_inputs(windows.gather(rows), spec)


def test_contexts_repeat_the_first_row_before_an_episode_and_say_so() -> None:
    inputs = inputs_of(numbered_episodes(3, 5), torch.tensor([0, 2, 3, 4, 7]), settings_of(context=3))
    assert inputs.parts["frames"][:, :, 0, 0, 0].tolist() == [[0, 0, 0], [0, 1, 2], [3, 3, 3], [3, 3, 4], [5, 6, 7]]
    assert inputs.parts["proprioception"][:, :, 1].tolist() == [[0, 0, 0], [0, 1, 2], [3, 3, 3], [3, 3, 4], [5, 6, 7]]
    begun = [[False, False, True], [True] * 3, [False, False, True], [False, True, True], [True] * 3]
    assert inputs.begun.tolist() == begun
    assert inputs.parts["task"].shape == (5, 3, 5)


def test_windows_are_three_frames_around_a_row() -> None:
    rows = torch.tensor([0, 1, 3, 6])
    windows = EpisodeTensors(numbered_episodes(3, 5)).part(TRANSITION, rows).gather(rows).frames
    assert windows.shape == (4, 3, *SPEC.frame_shape)
    assert windows[:, :, 0, 0, 0].tolist() == [[0, 0, 1], [0, 1, 2], [3, 3, 4], [5, 6, 7]]


def test_pixels_have_contexts_without_proprioception_and_task(colours: Callable[..., EpisodeArrays]) -> None:
    arrays = colours(2, length=4)
    inputs = inputs_of(arrays, torch.tensor([4, 7]), settings_of(context=2), preset("procgen-bigfish"))
    np.testing.assert_array_equal(inputs.parts["frames"].cpu(), arrays.frames[[[4, 4], [6, 7]]])
    assert set(inputs.parts) == {"frames"}


class Recorder(PolicyNetwork):
    """A policy network that keeps what it is given and what it answers."""

    def __init__(self, settings: PolicySettings) -> None:
        super().__init__(settings=settings, spec=SPEC, output_dim=6)
        self.given: list[PolicyInputs] = []
        self.answers: list[Tensor] = []

    def features(self, inputs: PolicyInputs) -> Tensor:
        self.given.append(inputs)
        return super().features(inputs)

    def outputs(self, features_BF: Tensor) -> Tensor:
        self.answers.append(super().outputs(features_BF))
        return self.answers[-1]


def play(arrays: EpisodeArrays, settings: PolicySettings) -> Recorder:
    """Let an agent see the rows of the one episode in ``arrays``, as a rollout shows them."""
    torch.manual_seed(0)
    recorder = Recorder(settings)
    agent = PolicyAgent(
        networks=[recorder],
        num_members=1,
        space=DiscreteActions(6),
        decode=lambda outputs, member: outputs.softmax(-1),
        action_selection="argmax",
        seed=0,
    )
    everything = Observation(arrays.observations)
    state = agent.initial_state(everything[:1])
    for row in range(arrays.num_rows):
        _, state = agent.act(everything[row : row + 1], state, torch.zeros(1, dtype=torch.long))
    return recorder


@pytest.mark.parametrize("context", [1, 3])
def test_an_agent_remembers_the_contexts_it_was_trained_on(context: int) -> None:
    arrays, settings = numbered_episodes(6), settings_of(context=context)
    recorder = play(arrays, settings)
    expected = inputs_of(arrays, torch.arange(6), settings)
    found = PolicyInputs.joined(recorder.given)
    assert torch.equal(found.begun, expected.begun)
    assert set(found.parts) == set(expected.parts) == set(SPEC.observation)
    for name, part in expected.parts.items():
        assert torch.equal(found.parts[name], part), name


def test_a_recurrent_agent_acts_as_it_was_trained_for_as_long_as_the_history_was_in_training() -> None:
    arrays, settings = numbered_episodes(6), settings_of(recurrent=True, context=4)
    recorder = play(arrays, settings)
    found = torch.cat(recorder.answers)
    expected = recorder(inputs_of(arrays, torch.arange(6), settings))
    torch.testing.assert_close(found[:4], expected[:4])
    assert not torch.allclose(found[5], expected[5]), "later on it remembers more than its training showed it"
