"""What agents would do in recorded observations: the same as if they had been shown these one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lamflow.data.store import EpisodeArrays
from lamflow.data.tensors import EpisodeTensors
from lamflow.envs.interface import Observation
from lamflow.envs.presets import preset
from lamflow.play import replay
from lamflow.play.replay import answered_actions
from lamflow.policies.actions import DiscreteActions
from lamflow.policies.agents import PolicyAgent, RandomAgent
from lamflow.policies.decoders import no_decode
from lamflow.policies.network import PolicyNetwork
from lamflow.policies.settings import PolicySettings

SPEC = preset("xland-empty-random-8x8-full")
SPACE = DiscreteActions.of(SPEC)
NETWORK = {"width": 8, "layers": 1, "embedding_dim": 4, "hidden_width": 16}


def make_agent(members: int = 2, **settings: Any) -> PolicyAgent:
    networks = []
    for seed in range(members):
        torch.manual_seed(seed)
        typed = PolicySettings.model_validate({"network": NETWORK} | settings)
        networks.append(PolicyNetwork(settings=typed, spec=SPEC, output_dim=SPACE.num_outputs))
    return PolicyAgent(
        networks=networks,
        num_members=members,
        space=SPACE,
        decode=no_decode(SPACE),
        action_selection="argmax",
        seed=0,
    )


def shown_one_by_one(agent: PolicyAgent, arrays: EpisodeArrays, rows: Tensor) -> Tensor:
    """The agent's actions [M, N] when it is led through each episode alone."""
    answers = torch.full((agent.num_members, arrays.num_rows), -1)
    stops = np.append(arrays.episode_starts[1:], arrays.num_rows)
    for member in range(agent.num_members):
        for start, stop in zip(arrays.episode_starts, stops, strict=True):
            state = None
            for row in range(start, stop):
                seen = Observation({name: part[row : row + 1] for name, part in arrays.observations.items()})
                state = state or agent.initial_state(seen)
                actions, state = agent.act(seen, state, torch.tensor([member]))
                answers[member, row] = actions[0]
    return answers[:, rows]


@pytest.mark.parametrize(
    "settings", [{}, {"context": 3}, {"context": 3, "recurrent": True}], ids=["frame", "context", "recurrent"]
)
@pytest.mark.parametrize("held", [4096, 5])
def test_agents_answer_recordings_in_the_order_of_time(
    settings: dict[str, Any], held: int, other_walks: EpisodeArrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is in memory at once, of rows that are not all, and few of a policy's answers are alike."""
    monkeypatch.setattr(replay, "MOST_HELD_ROWS", held)
    monkeypatch.setattr(replay, "ROWS_AT_ONCE", 6)
    stop = int(other_walks.episode_starts[5])
    arrays = EpisodeArrays(
        observations={name: part[:stop] for name, part in other_walks.observations.items()},
        actions=other_walks.actions[:stop],
        acted=other_walks.acted[:stop],
        rewards=other_walks.rewards[:stop],
        terminated=other_walks.terminated[:stop],
        truncated=other_walks.truncated[:stop],
        episode_starts=other_walks.episode_starts[:5],
        level_seeds=other_walks.level_seeds[:5],
    )
    data = EpisodeTensors(arrays)
    rows = data.rows[torch.rand(len(data.rows), generator=torch.Generator().manual_seed(1)) < 0.4]
    agent = make_agent(**settings)
    found = answered_actions(agent, data, SPEC, rows)
    assert found.shape == (2, len(rows))
    assert torch.equal(found, shown_one_by_one(agent, arrays, rows.cpu()))
    assert len(found.unique()) > 1


def test_a_random_agent_answers_too(other_walks: EpisodeArrays) -> None:
    data = EpisodeTensors(other_walks)
    found = answered_actions(RandomAgent(SPACE, seed=0), data, SPEC, data.rows)
    assert found.shape == (1, len(data.rows)) and found.unique().tolist() == list(range(SPACE.count))
