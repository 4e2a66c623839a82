"""Episodes of one expert over pixels on given levels, recorded whole.

Legend: B slots of a batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lamflow.envs.interface import Episode, Observation, VectorEnvironment
from lamflow.envs.registry import make_vector_environment
from lamflow.envs.spec import EnvironmentSpec
from lamflow.play.episodes import Actor, play
from lamflow.play.recording import EpisodeRecorder

ROLLOUT_BATCH = 128
"""Episodes that are played at a time, half of them at each table."""
ROLLOUT_BYTES = 3 * 2**29
"""Memory for the frames of episodes that have not ended."""


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
    make_actor = partial(_Sticky, expert, sticky, np.random.default_rng(seed))

    def make_environment(num_slots: int, level_stream: Iterator[int]) -> VectorEnvironment:
        return make_vector_environment(spec, num_slots, level_stream=level_stream, num_threads=num_threads)

    for played in play(make_environment, make_actor, EpisodeRecorder, level_ids, num_slots=slots):
        yield played.record


class _Sticky(Actor):
    """An expert asked for all slots, also the few that do not play: a network is slow at the first sight of each new batch size.

    Tables share the ``generator`` of sticky actions.
    """

    def __init__(self, expert: FrameActor, sticky: float, generator: np.random.Generator, num_slots: int) -> None:
        self._expert, self._sticky, self._generator = expert, sticky, generator
        self._actions, self._fresh = np.zeros(num_slots, np.int64), np.ones(num_slots, np.bool_)

    def begin(self, slots: NDArray[np.int64], episodes: NDArray[np.int64], observation: Observation) -> None:
        self._fresh[slots] = True

    def act(self, slots: NDArray[np.int64], observation: Observation) -> NDArray[np.int64]:
        chosen = self._expert.act(observation.parts[self._expert.spec.main])
        if self._sticky > 0:
            repeated = (self._generator.random(len(chosen)) < self._sticky) & ~self._fresh
            chosen = np.where(repeated, self._actions, chosen)
        self._actions, self._fresh = chosen, np.zeros(len(chosen), np.bool_)
        return chosen

    def keep(self, slots: NDArray[np.int64]) -> None:
        self._actions, self._fresh = self._actions[slots], self._fresh[slots]
