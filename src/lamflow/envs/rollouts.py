"""Whole episodes on the device: one program steps a batch of levels until all of them have ended."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from lamflow.envs.interface import Episode
from lamflow.envs.xland import Act, DeviceObservation, Timesteps, XlandSimulator
from lamflow.envs.xland import terminated as terminated_of

ROLLOUT_BATCH = 256
"""Episodes that one program steps together; longer lists of levels run in turns."""


class _Trace(NamedTuple):
    """What a rollout records: T + 1 observations, T actions and rewards, each [T (+ 1), B, ...]; then, a level, the number
    of transitions int32 [B] and whether the task ended the episode, bool [B]."""

    observations: DeviceObservation
    actions: jax.Array
    rewards: jax.Array
    lengths: jax.Array
    terminated: jax.Array


def _empty_trace(observation: DeviceObservation, max_steps: int) -> _Trace:
    batch = next(iter(observation.values())).shape[0]
    return _Trace(
        observations={
            name: jnp.zeros((max_steps + 1, *part.shape), part.dtype).at[0].set(part)
            for name, part in observation.items()
        },
        actions=jnp.zeros((max_steps, batch), jnp.int32),
        rewards=jnp.zeros((max_steps, batch), jnp.float32),
        lengths=jnp.zeros(batch, jnp.int32),
        terminated=jnp.zeros(batch, bool),
    )


@cache
def _rollout_program(simulator: XlandSimulator, act: Act) -> Any:
    """The compiled rollout: (params, first timesteps, seed, first level) -> _Trace."""

    def one_step(carry: tuple[jax.Array, Timesteps, _Trace], params: Any, key: jax.Array) -> Any:
        step, timesteps, trace = carry
        actions = act(params, timesteps, jax.random.fold_in(key, step)).astype(jnp.int32)
        stepped = simulator.step(timesteps, actions)
        observation = simulator.observe(stepped)
        trace = _Trace(
            observations={name: part.at[step + 1].set(observation[name]) for name, part in trace.observations.items()},
            actions=trace.actions.at[step].set(actions),
            rewards=trace.rewards.at[step].set(stepped.reward),
            lengths=trace.lengths + ~timesteps.last(),
            terminated=terminated_of(stepped),
        )
        return step + 1, stepped, trace

    def run(params: Any, timesteps: Timesteps, seed: jax.Array, first: jax.Array) -> _Trace:
        key = jax.random.fold_in(jax.random.PRNGKey(seed), first)
        trace = _empty_trace(simulator.observe(timesteps), simulator.spec.max_steps)
        trace_at_end: _Trace = jax.lax.while_loop(
            lambda carry: ~carry[1].last().all(),
            lambda carry: one_step(carry, params, key),
            (jnp.int32(0), timesteps, trace),
        )[2]
        return trace_at_end

    return jax.jit(run)


def _episodes_of(trace: _Trace, level_ids: NDArray[np.int64]) -> list[Episode]:
    """Cut the trace into episodes (copies), one for each of ``level_ids``, which may be fewer than the trace has."""
    lengths, ended_by_task = np.asarray(trace.lengths), np.asarray(trace.terminated)
    longest = int(lengths.max())
    parts = {name: np.asarray(part)[: longest + 1] for name, part in trace.observations.items()}
    actions, rewards = np.asarray(trace.actions)[:longest].astype(np.int64), np.asarray(trace.rewards)[:longest]
    return [
        Episode(
            observations={name: part[: length + 1, index].copy() for name, part in parts.items()},
            actions=actions[:length, index].copy(),
            rewards=rewards[:length, index].copy(),
            terminated=bool(ended_by_task[index]),
            truncated=not ended_by_task[index],
            level_id=int(level_ids[index]),
        )
        for index, length in enumerate(lengths[: len(level_ids)].tolist())
    ]


def rollout(
    simulator: XlandSimulator,
    act: Act,
    params: Any,
    level_ids: NDArray[np.int64],
    seed: int,
    batch: int = ROLLOUT_BATCH,
) -> Iterator[Episode]:
    """One episode a level, in the order of ``level_ids`` int64 [N], each with its true last observation.

    The same arguments give the same episodes. Calls with the same ``act`` object share a compiled program; what varies
    belongs into ``params``.
    """
    program = _rollout_program(simulator, act)
    for start in range(0, len(level_ids), batch):
        levels = level_ids[start : start + batch]
        padded = np.resize(levels, batch)  # repeats levels: one shape, one compiled program
        yield from _episodes_of(program(params, simulator.reset_levels(padded), seed, start), levels)
