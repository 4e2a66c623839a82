"""Episodes of one expert over pixels on given levels, recorded whole.

Legend: B slots of a batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lamflow.envs.interface import Episode
from lamflow.envs.procgen import ProcgenVectorEnvironment
from lamflow.envs.spec import EnvironmentSpec
from lamflow.envs.turns import table_sizes, take_turns

ROLLOUT_BATCH = 128
"""Episodes that are played at a time, half of them at each table."""
ROLLOUT_BYTES = 3 * 2**29
"""Memory for the frames of episodes that have not ended."""
_SHRINK_AT = 0.75
"""Share of slots that still run at which a table leaves out the others."""


class FrameActor(Protocol):
    """What plays an environment: actions int64 [B] in frames uint8 [B, H, W, 3]."""

    spec: EnvironmentSpec

    def act(self, frames: NDArray[np.uint8]) -> NDArray[np.int64]: ...


def play_episodes(
    expert: FrameActor,
    level_ids: NDArray[np.int64],
    *,
    num_threads: int = 0,
    batch: int = ROLLOUT_BATCH,
    sticky: float = 0.0,
    seed: int = 0,
) -> Iterator[Episode]:
    """One episode a level of ``level_ids`` int64, in the order in which they end. Slots never wait: one that is done takes the next level.

    With probability ``sticky`` a slot repeats its last action of the episode; ``seed`` is of that choice alone. At most
    ``batch`` episodes run at a time, and fewer where that many of the game's longest would not fit ``ROLLOUT_BYTES``. They
    share two tables: with ``num_threads`` of the simulator, which change no result, the games of one go on while the
    expert thinks about the other.
    """
    spec = expert.spec
    longest = spec.max_steps * math.prod(spec.frame_shape)
    slots = max(1, min(batch, len(level_ids), ROLLOUT_BYTES // longest))
    levels = _Levels(level_ids)
    generator = np.random.default_rng(seed)
    yield from take_turns([_Table(expert, size, levels, num_threads, sticky, generator) for size in table_sizes(slots)])


class _Levels(Iterator[int]):
    """The levels still to be played."""

    def __init__(self, level_ids: NDArray[np.int64]) -> None:
        self._levels = level_ids.tolist()
        self.taken = 0

    def __next__(self) -> int:
        if self.taken == len(self._levels):
            raise StopIteration
        self.taken += 1
        return int(self._levels[self.taken - 1])


class _Table:
    """Slots that are stepped together. Tables share ``levels`` and the ``generator`` of sticky actions."""

    def __init__(
        self,
        expert: FrameActor,
        slots: int,
        levels: _Levels,
        num_threads: int,
        sticky: float,
        generator: np.random.Generator,
    ) -> None:
        self._expert, self._sticky, self._generator = expert, sticky, generator
        self._slots = np.arange(slots)  # those whose episodes have not all ended
        self._levels = levels
        self._num_threads = num_threads
        self._environment = ProcgenVectorEnvironment(expert.spec, slots, levels, num_threads=num_threads)
        first = np.array([next(levels) for _ in range(slots)], np.int64)
        self._frames = self._environment.reset(first).frames
        self._takes = [_Take(level) for level in first.tolist()]
        self._actions = np.zeros(slots, np.int64)
        self._fresh = np.ones(slots, np.bool_)

    @property
    def running(self) -> bool:
        return len(self._slots) > 0

    def act(self) -> None:
        """Choose the actions of the running slots and let their games go on."""
        # All slots, also the few that have stopped: a network is slow at the first sight of each new batch size.
        chosen = self._expert.act(self._frames)
        if self._sticky > 0:
            repeated = (self._generator.random(len(chosen)) < self._sticky) & ~self._fresh
            chosen = np.where(repeated, self._actions, chosen)
        self._actions = chosen
        self._environment.send(chosen)
        for slot in self._slots.tolist():
            self._takes[slot].add(self._frames[slot], int(chosen[slot]))

    def receive(self) -> list[Episode]:
        """The episodes that ended by the last actions; their slots take the next levels, and stop when there are none."""
        before = self._levels.taken
        result = self._environment.receive()
        for slot, reward in zip(self._slots.tolist(), result.rewards[self._slots].tolist(), strict=True):
            self._takes[slot].rewards.append(reward)
        self._frames, self._fresh = result.observation.frames, result.terminated | result.truncated
        ended = self._slots[self._fresh[self._slots]]
        episodes = [self._takes[slot].episode(terminated=bool(result.terminated[slot])) for slot in ended.tolist()]
        for slot in ended.tolist():
            self._takes[slot] = _Take(int(result.level_ids[slot]))
        stopped = ended[self._levels.taken - before :]
        self._slots = self._slots[~np.isin(self._slots, stopped)]
        if 0 < len(self._slots) <= _SHRINK_AT * len(self._frames):
            self._shrink()
        return episodes

    def _shrink(self) -> None:
        """Leave out the slots that have stopped, whose games would cost time."""
        kept, saved = self._slots, self._environment.save()
        smaller = ProcgenVectorEnvironment(
            self._environment.spec, len(kept), self._levels, num_threads=self._num_threads
        )
        self._frames = smaller.restore(
            {
                "states": [saved["states"][slot] for slot in kept.tolist()],
                "level_ids": saved["level_ids"][kept],
                "lengths": saved["lengths"][kept],
            }
        ).frames
        self._environment.close()
        self._environment = smaller
        self._takes = [self._takes[slot] for slot in kept.tolist()]
        self._actions, self._fresh = self._actions[kept], self._fresh[kept]
        self._slots = np.arange(len(kept))

    def close(self) -> None:
        self._environment.close()


class _Take:
    """What one slot has seen of its episode; frames lie in pages, so that a long episode is copied once, when it ends."""

    _PAGE = 64

    def __init__(self, level_id: int) -> None:
        self.level_id = level_id
        self.actions: list[int] = []
        self.rewards: list[float] = []
        self._pages: list[NDArray[np.uint8]] = []

    def add(self, frame: NDArray[np.uint8], action: int) -> None:
        """A frame uint8 [H, W, C], copied, and the action taken in it."""
        place = len(self.actions) % self._PAGE
        if place == 0:
            self._pages.append(np.empty((self._PAGE, *frame.shape), np.uint8))
        self._pages[-1][place] = frame
        self.actions.append(action)

    def episode(self, *, terminated: bool) -> Episode:
        length = len(self.actions)
        return Episode(
            frames=np.concatenate(self._pages)[:length],
            proprioception=np.zeros((length, 0), np.uint8),
            task=np.zeros((length, 0), np.uint8),
            actions=np.array(self.actions, np.int64),
            rewards=np.array(self.rewards, np.float32),
            terminated=terminated,
            truncated=not terminated,
            level_id=self.level_id,
        )
