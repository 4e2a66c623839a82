"""Single episodes with everything that was seen in them, for what people watch; ``rollouts`` measures agents."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from lamflow.envs.interface import Episode, Observation, VectorEnvironment
from lamflow.policies.agents import Agent, AgentState

Act = Callable[[Observation], NDArray[np.int64]]
"""The action int64 [1] for a batch of one observation."""


def record_agent(agent: Agent, member: int, environment: VectorEnvironment, level_id: int) -> Episode:
    """Let one member of ``agent`` play ``level_id`` in an environment of one slot."""
    state: AgentState | None = None

    def act(observation: Observation) -> NDArray[np.int64]:
        nonlocal state
        before = agent.initial_state(observation) if state is None else state
        action, state = agent.act(observation, before, torch.tensor([member]))
        chosen: NDArray[np.int64] = action.numpy()
        return chosen

    return _record(act, environment, level_id)


def replay(actions: NDArray[np.int64], environment: VectorEnvironment, level_id: int) -> Episode:
    """The episode that ``actions`` int64 [L] make of ``level_id`` in an environment of one slot.

    A deterministic simulator repeats what happened, so another view of the same simulator shows it. ValueError when the
    episode does not end with the last action.
    """
    remaining = iter(actions)

    def act(_observation: Observation) -> NDArray[np.int64]:
        action = next(remaining, None)
        if action is None:
            raise ValueError(
                f"level {level_id} has not ended after the {len(actions)} actions of the episode to replay"
            )
        return np.array([action], np.int64)

    episode = _record(act, environment, level_id)
    if episode.length != len(actions):
        raise ValueError(f"level {level_id} ended after {episode.length} of the {len(actions)} actions to replay")
    return episode


def _record(act: Act, environment: VectorEnvironment, level_id: int) -> Episode:
    assert environment.num_envs == 1, f"environment has {environment.num_envs} slots, 1 needed"
    observation = environment.reset(np.array([level_id], np.int64))
    seen, actions, rewards = [observation], [], []
    while True:
        actions.append(act(observation))
        result = environment.step(actions[-1])
        rewards.append(result.rewards)
        if result.terminated[0] or result.truncated[0]:
            break
        observation = result.observation
        seen.append(observation)
    if result.final_observation is not None:
        seen.append(result.final_observation)
    return Episode(
        frames=np.concatenate([part.frames for part in seen]),
        proprioception=np.concatenate([part.proprioception for part in seen]),
        task=np.concatenate([part.task for part in seen]),
        actions=np.concatenate(actions),
        rewards=np.concatenate(rewards),
        terminated=bool(result.terminated[0]),
        truncated=bool(result.truncated[0]),
        level_id=level_id,
    )
