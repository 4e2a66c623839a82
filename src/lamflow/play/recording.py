"""Whole episodes with everything that was seen in them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lamflow.envs.interface import Episode, Observation, StepResult
from lamflow.play.episodes import Recorder


class EpisodeRecorder(Recorder[Episode]):
    """Keeps every observation, with the true last one where the simulator shows it, every action and every reward."""

    def __init__(self, num_slots: int) -> None:
        self._takes = [_Take() for _ in range(num_slots)]

    def see(self, slots: NDArray[np.int64], observation: Observation, actions: NDArray[np.int64]) -> None:
        for slot in slots.tolist():
            self._takes[slot].see(observation, slot)
            self._takes[slot].actions.append(int(actions[slot]))

    def keep_outcome(self, slots: NDArray[np.int64], result: StepResult) -> None:
        for slot, reward in zip(slots.tolist(), result.rewards[slots].tolist(), strict=True):
            self._takes[slot].rewards.append(reward)

    def end(self, slot: int, level_id: int, result: StepResult) -> Episode:
        take, self._takes[slot] = self._takes[slot], _Take()
        if result.final_observation is not None:
            take.see(result.final_observation, slot)
        frames, proprioception, task = take.seen()
        return Episode(
            frames=frames,
            proprioception=proprioception,
            task=task,
            actions=np.array(take.actions, np.int64),
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
        self.actions: list[int] = []
        self.rewards: list[float] = []
        self._num_seen = 0
        self._pages: list[list[NDArray[np.uint8]]] = []

    def see(self, observation: Observation, slot: int) -> None:
        """Copy what a slot shows."""
        parts = (observation.frames, observation.proprioception, observation.task)
        place = self._num_seen % self._PAGE
        if place == 0:
            self._pages.append([np.empty((self._PAGE, *part.shape[1:]), np.uint8) for part in parts])
        for page, part in zip(self._pages[-1], parts, strict=True):
            page[place] = part[slot]
        self._num_seen += 1

    def seen(self) -> list[NDArray[np.uint8]]:
        """Frames, proprioception and task of all that was seen."""
        return [np.concatenate(pages)[: self._num_seen] for pages in zip(*self._pages, strict=True)]
