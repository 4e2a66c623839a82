"""Environments of Gymnasium as a vector environment: one after the other in this process."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from lamflow.envs.gymnasium_facts import make_environment
from lamflow.envs.gymnasium_parts import read_parts
from lamflow.envs.interface import Observation, StepResult, VectorEnvironment, check_actions, check_level_ids
from lamflow.envs.spec import EnvironmentSpec


class GymnasiumVectorEnvironment(VectorEnvironment):
    """``num_envs`` copies; a level is a seed of ``reset``. The true last observation of an episode is kept. ``level_stream`` gives the
    levels of later episodes; without it, or when it ends, a slot repeats its level."""

    def __init__(self, spec: EnvironmentSpec, num_envs: int, level_stream: Iterator[int] | None) -> None:
        self.spec, self.num_envs, self._stream = spec, num_envs, level_stream
        self._environments: list[gymnasium.Env[Any, Any]] = [make_environment(spec.own) for _ in range(num_envs)]
        self._level_ids = np.zeros(num_envs, np.int64)
        self._taken: list[list[NDArray[Any]]] = [[] for _ in range(num_envs)]
        self._sent: NDArray[Any] | None = None
        self._running = False

    def reset(self, level_ids: NDArray[np.int64]) -> Observation:
        """Start one episode per slot on ``level_ids`` int64 [num_envs]; ValueError for another number of levels."""
        check_level_ids(self.spec, self.num_envs, level_ids)
        self._level_ids, self._running = level_ids.copy(), True
        return self._stacked([self._begin(slot) for slot in range(self.num_envs)])

    def save(self) -> dict[str, Any]:
        """The levels of the running episodes and the actions taken in them, by which they are played again: Gymnasium's environments
        have no state that could be read. RuntimeError before the first reset."""
        if not self._running:
            raise RuntimeError(f"{self.spec.name}: save before reset")
        return {"level_ids": self._level_ids.copy(), "taken": [list(actions) for actions in self._taken]}

    def restore(self, saved: dict[str, Any]) -> Observation:
        """Play the running episodes again; the present observation. It equals the saved one where equal seeds and actions give equal
        episodes."""
        self._level_ids, self._running = saved["level_ids"].copy(), True
        shown = []
        for slot, actions in enumerate(saved["taken"]):
            last = self._begin(slot)
            for action in actions:
                last = self._step(slot, action)[0]
            shown.append(last)
        return self._stacked(shown)

    def send(self, actions: NDArray[Any]) -> None:
        """Act in all slots; RuntimeError before the first reset, ValueError for actions that do not exist."""
        if not self._running:
            raise RuntimeError(f"{self.spec.name}: step before reset")
        check_actions(self.spec, self.num_envs, actions)
        self._sent = actions.copy()

    def receive(self) -> StepResult:
        """What came of the actions that were sent last."""
        assert self._sent is not None, "receive before send"
        shown, final, outcomes = [], [], []
        for slot, action in enumerate(self._sent):
            last, reward, terminated, truncated = self._step(slot, action)
            final.append(last)
            outcomes.append((reward, terminated, truncated and not terminated))
            if terminated or truncated:
                self._level_ids[slot] = (
                    next(self._stream, self._level_ids[slot]) if self._stream else self._level_ids[slot]
                )
                shown.append(self._begin(slot))
            else:
                shown.append(last)
        rewards, terminations, truncations = zip(*outcomes, strict=True)
        return StepResult(
            observation=self._stacked(shown),
            final_observation=self._stacked(final),
            rewards=np.array(rewards, np.float32),
            terminated=np.array(terminations, np.bool_),
            truncated=np.array(truncations, np.bool_),
            level_ids=self._level_ids.copy(),
        )

    def close(self) -> None:
        """Close all copies."""
        for environment in self._environments:
            environment.close()

    def _begin(self, slot: int) -> dict[str, NDArray[Any]]:
        self._taken[slot] = []
        observation, _ = self._environments[slot].reset(seed=int(self._level_ids[slot]))
        return self._read(observation, slot)

    def _step(self, slot: int, action: Any) -> tuple[dict[str, NDArray[Any]], float, bool, bool]:
        taken = int(action) if action.ndim == 0 else action
        self._taken[slot].append(action)
        observation, reward, terminated, truncated, _ = self._environments[slot].step(taken)
        if not isfinite(given := float(reward)):
            level = f"level {self._level_ids[slot]}"
            raise ValueError(f"{self.spec.name}, {level}: found the reward {given}, expected a finite one")
        return self._read(observation, slot, action), given, bool(terminated), bool(truncated)

    def _read(self, observation: Any, slot: int, action: NDArray[Any] | None = None) -> dict[str, NDArray[Any]]:
        """The parts of what followed an action, or began an episode."""
        try:
            return read_parts(self.spec.observation, observation)
        except ValueError as error:
            when = (
                "its first observation" if action is None else f"after action {action}"
            )  # arrays are slow to write out
            raise ValueError(f"{self.spec.name}, level {self._level_ids[slot]}, {when}: {error}") from None

    def _stacked(self, seen: list[dict[str, NDArray[Any]]]) -> Observation:
        return Observation({name: np.stack([each[name] for each in seen]) for name in self.spec.observation})
