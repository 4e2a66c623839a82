"""XLand-MiniGrid as batches of levels on a JAX device: reset, step and the views of a batch of states.

Legend: B batch, H and W grid sides. ``Timesteps`` is xminigrid's TimeStep with every leaf batched over B. A level id is
``ruleset index << 32 | reset seed`` (the ruleset index is 0 where there are no rulesets).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from lamflow.envs.families import DEFAULT_NUM_RULESETS
from lamflow.envs.jax_setup import configure_jax
from lamflow.envs.rulesets import Rulesets, generate_rulesets
from lamflow.envs.spec import FRAMES, EnvironmentSpec
from lamflow.envs.tiles import AGENT_TILE, VIEW_SIZE

Timesteps = Any
"""xminigrid.types.TimeStep, which has no stubs."""
DeviceObservation = dict[str, jax.Array]
"""The parts of observations on the device, by name, [B, ...]."""
Act = Callable[[Any, Timesteps, jax.Array], jax.Array]
"""``act(params, timesteps, key) -> actions`` int32 [B]: a traceable policy that may look at the whole state."""

RESET_CHUNK = 256
"""Levels, at most, that one call of the compiled reset makes."""
FEW_RESETS = 16
"""So many and fewer have a program of their own, several times as fast."""
SEED_BITS = 32


def draw_agent(grids: jax.Array, positions: jax.Array, directions: jax.Array, pockets: jax.Array) -> jax.Array:
    """The full view [B, H, W, 2]: each grid with its agent drawn in as tile ``AGENT_TILE + direction`` in the colour it
    carries. ``positions`` [B, 2] are (row, column), ``pockets`` [B, 2] (tile, colour)."""
    agent = jnp.stack([AGENT_TILE + directions, pockets[:, 1]], axis=-1).astype(grids.dtype)
    return grids.at[jnp.arange(len(grids)), positions[:, 0], positions[:, 1]].set(agent)


def where_batch(mask: jax.Array, chosen: Any, other: Any) -> Any:
    """Leafwise ``where`` of two trees over the batch axis; ``mask`` bool [B]."""
    return jax.tree.map(lambda a, b: jnp.where(mask.reshape(mask.shape + (1,) * (a.ndim - 1)), a, b), chosen, other)


def reset_rows(num_levels: int) -> int:
    """Rows of the reset's answer for so many levels."""
    return FEW_RESETS if num_levels <= FEW_RESETS else RESET_CHUNK


class XlandSimulator:
    """The JAX functions of one environment, traceable and batched.

    ``rulesets`` is None where the simulator fixes the task; else level ids index it.
    """

    def __init__(self, spec: EnvironmentSpec, rulesets: Rulesets | None) -> None:
        configure_jax()
        import xminigrid

        if (rulesets is not None) != spec.uses_rulesets:
            raise ValueError(f"{spec.name}: rulesets are {'needed' if spec.uses_rulesets else 'not used'} here")
        self.spec = spec
        self.rulesets = rulesets
        self._environment, self._params = xminigrid.make(spec.simulator_id, view_size=VIEW_SIZE)
        if self._params.max_steps != spec.max_steps:
            raise ValueError(
                f"{spec.name}: found a limit of {self._params.max_steps} steps in xminigrid, expected {spec.max_steps} as in "
                "its facts; install the pinned xminigrid"
            )
        self._reset = jax.jit(self.reset)

    def reset_levels(self, level_ids: NDArray[np.int64]) -> Timesteps:
        """The first timesteps of levels int64 [B], on the host; ValueError for a ruleset that does not exist."""
        chunks = [
            jax.tree.map(np.asarray, self.reset_chunk(level_ids[start : start + RESET_CHUNK]))
            for start in range(0, len(level_ids), RESET_CHUNK)
        ]
        return jax.tree.map(lambda *leaves: np.concatenate(leaves)[: len(level_ids)], *chunks)

    def reset_chunk(self, level_ids: NDArray[np.int64]) -> Timesteps:
        """The first timesteps of at most ``RESET_CHUNK`` levels, on the device, repeated to ``reset_rows`` of their number, so that
        few compiled programs serve all."""
        return self._reset(*self.split_ids(np.resize(level_ids, reset_rows(len(level_ids)))))

    def split_ids(self, level_ids: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.uint32]]:
        """Ruleset indices int32 [B] and reset seeds uint32 [B] of level ids; ValueError for a ruleset that does not exist."""
        limit = 1 if self.rulesets is None else len(self.rulesets)
        indices = level_ids >> SEED_BITS
        unknown = (indices < 0) | (indices >= limit)
        if unknown.any():
            raise ValueError(
                f"{self.spec.name}: found level id {level_ids[unknown][0]} of ruleset {indices[unknown][0]}, expected a ruleset "
                f"below {limit}; use the num_rulesets that the levels were drawn with"
            )
        return indices.astype(np.int32), (level_ids & 0xFFFFFFFF).astype(np.uint32)

    def reset(self, ruleset_indices: jax.Array, seeds: jax.Array) -> Timesteps:
        """The first timesteps of the levels with these parts (see ``split_ids``)."""
        keys = jax.vmap(jax.random.PRNGKey)(seeds)
        if self.rulesets is None:
            return jax.vmap(partial(self._environment.reset, self._params))(keys)
        from xminigrid.types import RuleSet

        chosen = RuleSet(
            goal=jnp.asarray(self.rulesets.goals)[ruleset_indices],
            rules=jnp.asarray(self.rulesets.rules)[ruleset_indices],
            init_tiles=jnp.asarray(self.rulesets.init_tiles)[ruleset_indices],
        )
        return jax.vmap(lambda ruleset, key: self._environment.reset(self._params.replace(ruleset=ruleset), key))(
            chosen, keys
        )

    def step(self, timesteps: Timesteps, actions: jax.Array) -> Timesteps:
        """One step with actions int32 [B]; episodes that have ended stay as they are, with reward 0."""
        stepped = jax.vmap(partial(self._environment.step, self._params))(timesteps, actions)
        frozen = timesteps.replace(reward=jnp.zeros_like(timesteps.reward))
        return where_batch(timesteps.last(), frozen, stepped)

    def observe(self, timesteps: Timesteps) -> DeviceObservation:
        """``frames`` uint8 [B, *frame_shape] in the spec's view; ``proprioception`` uint8 [B, 3]: direction, carried tile, carried
        colour; where tasks vary ``task`` uint8 [B, 5], the goal's encoding."""
        agent = timesteps.state.agent
        if self.spec.view == "full":
            frames = draw_agent(timesteps.state.grid, agent.position, agent.direction, agent.pocket)
        else:
            frames = timesteps.observation
        direction = agent.direction[:, None].astype(jnp.uint8)
        proprioception = jnp.concatenate([direction, agent.pocket.astype(jnp.uint8)], axis=1)
        task = timesteps.state.goal_encoding.astype(jnp.uint8)
        parts = {FRAMES: frames, "proprioception": proprioception, "task": task}
        return {name: parts[name] for name in self.spec.observation}


def terminated(timesteps: Timesteps) -> jax.Array:
    """bool [B]: episodes that their task ended; those that ended otherwise hit the step limit."""
    return timesteps.last() & (timesteps.discount == 0)


def grid_sides(spec: EnvironmentSpec) -> tuple[int, int]:
    """Height and width of the simulator's grids."""
    import xminigrid

    _, params = xminigrid.make(spec.simulator_id)
    return int(params.height), int(params.width)


@cache
def make_simulator(spec: EnvironmentSpec, num_rulesets: int = DEFAULT_NUM_RULESETS) -> XlandSimulator:
    """The simulator of an environment; one a process, so that its compiled functions are shared."""
    return XlandSimulator(spec, generate_rulesets(num_rulesets) if spec.uses_rulesets else None)
