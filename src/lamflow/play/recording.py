"""Whole episodes with everything that was seen in them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamflow.envs.interface import Episode, Observation, StepResult
from lamflow.play.episodes import Recorder


class EpisodeRecorder(Recorder[Episode]):
    """Keeps every observation, with the true last one where the simulator shows it, every action and every reward."""

    def __init__(self, num_slots: int) -> None:
        self._takes = [_Take() for _ in range(num_slots)]

    def see(self, slots: NDArray[np.int64], observation: Observation, actions: NDArray[Any]) -> None:
        for slot in slots.tolist():
            self._takes[slot].see(observation, slot)
            self._takes[slot].actions.append(actions[slot].copy())

    def keep_outcome(self, slots: NDArray[np.int64], result: StepResult) -> None:
        for slot, reward in zip(slots.tolist(), result.rewards[slots].tolist(), strict=True):
            self._takes[slot].rewards.append(reward)

    def end(self, slot: int, level_id: int, result: StepResult) -> Episode:
        take, self._takes[slot] = self._takes[slot], _Take()
        if result.final_observation is not None:
            take.see(result.final_observation, slot)
        return Episode(
            observations=take.seen(),
            actions=np.array(take.actions),
            rewards=np.array(take.rewards, np.float32),
            terminated=bool(result.terminated[slot]),
            truncated=bool(result.truncated[slot]),
            level_id=level_id,
        )

    def keep(self, slots: NDArray[np.int64]) -> None:
        self._takes = [self._takes[slot] for slot in slots.tolist()]


class _Take:
    """What one slot has seen of its episode; observations lie in pages, so that a long episode is copied once, when it ends."""

    _PAGE = 64

    def __init__(self) -> None:
        self.actions: list[Any] = []
        self.rewards: list[float] = []
        self._num_seen = 0
        self._pages: list[dict[str, NDArray[Any]]] = []

    def see(self, observation: Observation, slot: int) -> None:
        """Copy what a slot shows."""
        place = self._num_seen % self._PAGE
        if place == 0:
            self._pages.append(
                {name: np.empty((self._PAGE, *part.shape[1:]), part.dtype) for name, part in observation.parts.items()}
            )
        for name, part in observation.parts.items():
            self._pages[-1][name][place] = part[slot]
        self._num_seen += 1

    def seen(self) -> dict[str, NDArray[Any]]:
        """The parts of all that was seen."""
        return {name: np.concatenate([page[name] for page in self._pages])[: self._num_seen] for name in self._pages[0]}
