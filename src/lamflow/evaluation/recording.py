"""Single episodes with everything that was seen in them, for what people watch; ``rollouts`` measures agents."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lamflow.envs.interface import Episode, Observation, VectorEnvironment
from lamflow.play.agents import AgentActor
from lamflow.play.episodes import Actor, play_once
from lamflow.play.recording import EpisodeRecorder
from lamflow.policies.agents import Agent


def record_agent(agent: Agent, member: int, environment: VectorEnvironment, level_id: int) -> Episode:
    """Let one member of ``agent`` play ``level_id`` in an environment of one slot."""
    return play_once(environment, AgentActor(agent, torch.tensor([member]), 1), EpisodeRecorder(1), level_id)


def replay(actions: NDArray[Any], environment: VectorEnvironment, level_id: int) -> Episode:
    """The episode that ``actions`` [L, ...] make of ``level_id`` in an environment of one slot.

    A deterministic simulator repeats what happened, so another view of the same simulator shows it. ValueError when the
    episode does not end with the last action.
    """
    episode = play_once(environment, _Replay(actions, level_id), EpisodeRecorder(1), level_id)
    if episode.length != len(actions):
        raise ValueError(f"level {level_id} ended after {episode.length} of the {len(actions)} actions to replay")
    return episode


class _Replay(Actor):
    """Repeats ``actions`` [L, ...]; ValueError where the episode goes on after them."""

    def __init__(self, actions: NDArray[Any], level_id: int) -> None:
        self._actions, self._level_id, self._step = actions, level_id, 0

    def act(self, slots: NDArray[np.int64], observation: Observation) -> NDArray[Any]:
        step, self._step = self._step, self._step + 1
        if step == len(self._actions):
            raise ValueError(
                f"level {self._level_id} has not ended after the {len(self._actions)} actions of the episode to replay"
            )
        return self._actions[step : step + 1]
