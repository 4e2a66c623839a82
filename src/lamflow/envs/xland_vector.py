"""The vector-environment interface over the JAX simulator: numpy arrays in and out, episodes restart in the same step.

``send`` leaves a step to JAX, which computes it on its own thread or device; ``receive`` waits for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from lamflow.envs.interface import Observation, StepResult, VectorEnvironment, check_actions, check_level_ids
from lamflow.envs.xland import (
    RESET_CHUNK,
    DeviceObservation,
    Timesteps,
    XlandSimulator,
    reset_rows,
    terminated,
    where_batch,
)


class XlandVectorEnvironment(VectorEnvironment):
    """``num_envs`` copies of one environment (see ``interface.VectorEnvironment``).

    With a ``level_stream``, an iterator of level ids, every episode after a slot's first takes the stream's next level, in
    the order of slots within a step; a stream that has run dry leaves each slot on the level that was last meant for it.
    """

    def __init__(self, simulator: XlandSimulator, num_envs: int, level_stream: Iterator[int] | None = None) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs: found {num_envs}, expected a positive number")
        self.spec = simulator.spec
        self.num_envs = num_envs
        self._simulator = simulator
        self._stream = level_stream
        self._timesteps: Timesteps = None
        self._next: Timesteps = None  # first timesteps of the slots' next episodes
        self._sent: Any = None  # what the last actions will have come to
        self._level_ids = self._next_ids = np.zeros(num_envs, np.int64)

    def reset(self, level_ids: NDArray[np.int64]) -> Observation:
        """Start one episode a slot on ``level_ids`` [num_envs]; ValueError for another number of levels."""
        check_level_ids(self.spec, self.num_envs, level_ids)
        self._level_ids, self._next_ids = level_ids.copy(), level_ids.copy()
        self._timesteps = self._next = self._simulator.reset_levels(level_ids)
        self._prepare_next(np.arange(self.num_envs))
        return _to_host(_programs(self._simulator)[0](self._timesteps))

    def send(self, actions: NDArray[np.int64]) -> None:
        """Act with ``actions`` int64 [num_envs]; RuntimeError before the first reset, ValueError for actions out of range."""
        if self._timesteps is None:
            raise RuntimeError(f"{self.spec.name}: step before reset")
        check_actions(self.spec, self.num_envs, actions)
        advance = _programs(self._simulator)[1]
        self._timesteps, *self._sent = advance(self._timesteps, self._next, actions.astype(np.int32))

    def receive(self) -> StepResult:
        """What came of the actions that were sent last; waits for the device."""
        observation, final, outcome = self._sent
        rewards, terminations, truncations = (np.array(part) for part in outcome)
        ended = np.flatnonzero(terminations | truncations)
        self._level_ids[ended] = self._next_ids[ended]
        self._prepare_next(ended)
        return StepResult(
            observation=_to_host(observation),
            final_observation=_to_host(final),
            rewards=rewards,
            terminated=terminations,
            truncated=truncations,
            level_ids=self._level_ids.copy(),
        )

    def save(self) -> dict[str, Any]:
        """All that makes the future of the slots, but the level stream: states and next states, levels and next levels."""
        return {
            "leaves": [np.array(leaf) for leaf in jax.tree.leaves((self._timesteps, self._next))],
            "level_ids": self._level_ids.copy(),
            "next_ids": self._next_ids.copy(),
        }

    def restore(self, saved: dict[str, Any]) -> Observation:
        """Go on from ``save``'s answer; the present observation."""
        self._level_ids, self._next_ids = saved["level_ids"].copy(), saved["next_ids"].copy()
        fresh = self._simulator.reset_levels(self._level_ids)
        structure = jax.tree.structure((fresh, fresh))
        self._timesteps, self._next = jax.tree.unflatten(structure, [np.array(leaf) for leaf in saved["leaves"]])
        return _to_host(_programs(self._simulator)[0](self._timesteps))

    def close(self) -> None:
        """Let go of the device's memory."""
        self._timesteps = self._next = self._sent = None

    def _prepare_next(self, slots: NDArray[np.int64]) -> None:
        """Draw the next levels of ``slots`` from the stream, if there is one, and reset them."""
        if self._stream is None:
            return
        drawn = [level for _, level in zip(slots, self._stream, strict=False)]
        slots = slots[: len(drawn)]
        self._next_ids[slots] = drawn
        refill = _programs(self._simulator)[2]
        for start in range(0, len(slots), RESET_CHUNK):
            rows = slots[start : start + RESET_CHUNK]
            fresh = self._simulator.reset_chunk(self._next_ids[rows])
            self._next = refill(self._next, np.resize(rows, reset_rows(len(rows))), fresh)


@cache
def _programs(simulator: XlandSimulator) -> tuple[Any, Any, Any]:
    """The compiled functions that all vector environments of a simulator share: observe, advance, refill."""

    def advance(timesteps: Timesteps, upcoming: Timesteps, actions: jax.Array) -> tuple[Any, ...]:
        stepped = simulator.step(timesteps, actions)
        ended, by_task = stepped.last(), terminated(stepped)
        restarted = where_batch(ended, upcoming, stepped)
        outcome = (stepped.reward, by_task, ended & ~by_task)
        return restarted, simulator.observe(restarted), simulator.observe(stepped), outcome

    def refill(upcoming: Timesteps, rows: jax.Array, fresh: Timesteps) -> Timesteps:
        return jax.tree.map(lambda old, new: old.at[rows].set(new), upcoming, fresh)

    return jax.jit(simulator.observe), jax.jit(advance), jax.jit(refill)


def _to_host(observation: DeviceObservation) -> Observation:
    return Observation({name: np.array(part) for name, part in observation.items()})
