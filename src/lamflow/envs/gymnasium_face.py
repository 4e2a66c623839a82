"""Gymnasium's face of a vector environment, for users who bring their own policy."""

from __future__ import annotations

from itertools import count
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from lamflow.envs.gymnasium_spaces import space_of
from lamflow.envs.interface import Observation, VectorEnvironment
from lamflow.envs.levels import Split, draw_levels
from lamflow.envs.registry import make_vector_environment
from lamflow.envs.rendering import render_frame
from lamflow.envs.spec import FRAMES, EnvironmentSpec

Batch = dict[str, NDArray[np.uint8]]
PARTS = {"frame": FRAMES}
"""What a part is called here, where it is not by its own name."""


def observation_space(spec: EnvironmentSpec) -> gymnasium.spaces.Dict:
    """One environment's observations: ``frame``, ``proprioception`` where there is one and ``task`` where it varies; all uint8."""
    highest = np.full(spec.frame_shape, 255, np.uint8)
    for channel, size in enumerate(spec.category_sizes):
        highest[..., channel] = size - 1
    parts: dict[str, gymnasium.Space[Any]] = {
        "frame": gymnasium.spaces.Box(np.zeros_like(highest), highest, dtype=np.uint8)
    }
    return gymnasium.spaces.Dict(
        parts | {name: space_of(part) for name, part in spec.observation.items() if name != FRAMES}
    )


def make_gymnasium(
    spec: EnvironmentSpec,
    num_envs: int,
    *,
    split: Split = "train",
    num_levels: int = 1024,
    seed: int = 0,
    render_mode: str | None = None,
) -> GymnasiumVectorEnv:
    """An environment as Gymnasium knows it; every episode takes a random one of ``num_levels`` levels of ``split``."""
    levels = draw_levels(spec, split, num_levels, seed)
    generator = np.random.default_rng((seed, 1))  # not the generator of reset, which would deal out the same levels
    stream = (int(generator.choice(levels)) for _ in count())
    return GymnasiumVectorEnv(
        make_vector_environment(spec, num_envs, level_stream=stream), levels, render_mode=render_mode
    )


class GymnasiumVectorEnv(VectorEnv[Batch, NDArray[np.int64], NDArray[Any]]):
    """A ``gymnasium.vector.VectorEnv`` over a lamflow vector environment.

    Episodes restart in the same step (``AutoresetMode.SAME_STEP``): where one ended, ``infos["final_obs"]`` holds its true
    last observation and ``infos["_final_obs"]`` is True. Procgen swallows that observation: there ``infos`` has no ``final_obs``, and
    the observation that comes with the end is the next episode's first one. Who bootstraps from the last observation of a
    truncated episode must leave that out. ``infos["level_id"]`` names each slot's level. ``reset`` takes its
    levels from ``options={"level_ids": int64 [num_envs]}``, else draws them from the seed among ``level_ids``.
    """

    def __init__(
        self, environment: VectorEnvironment, level_ids: NDArray[np.int64], *, render_mode: str | None = None
    ) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode: found {render_mode!r}, expected None or 'rgb_array'")
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": ["rgb_array"], "render_fps": 8}
        self.render_mode = render_mode
        self.num_envs = environment.num_envs
        single_space = observation_space(environment.spec)
        self.single_observation_space = single_space
        self._part_names = tuple(single_space)
        self.single_action_space = gymnasium.spaces.Discrete(environment.spec.num_actions)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._environment = environment
        self._levels = level_ids
        self._frames: NDArray[np.uint8] | None = None

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Batch, dict[str, Any]]:
        """Start one episode a slot; a list of seeds is refused (ValueError): a level id says more than a seed."""
        if isinstance(seed, list):
            raise ValueError(
                "reset: found a list of seeds, expected one seed; name levels by options={'level_ids': ...}"
            )
        super().reset(seed=seed, options=options)
        levels = (options or {}).get("level_ids")
        if levels is None:
            levels = self.np_random.choice(self._levels, self.num_envs)
        levels = np.asarray(levels, np.int64)
        observation = self._environment.reset(levels)
        return self._batch(observation), {"level_id": levels, "_level_id": np.ones(self.num_envs, bool)}

    def step(
        self, actions: NDArray[np.int64]
    ) -> tuple[Batch, NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Act in every slot; rewards are raw."""
        result = self._environment.step(np.asarray(actions, np.int64))
        infos: dict[str, Any] = {"level_id": result.level_ids, "_level_id": np.ones(self.num_envs, bool)}
        ended = result.terminated | result.truncated
        if ended.any() and result.final_observation is not None:
            final = np.full(self.num_envs, None, dtype=object)
            batch = self._parts(result.final_observation)
            for slot in np.flatnonzero(ended):
                final[slot] = {name: values[slot] for name, values in batch.items()}
            infos |= {"final_obs": final, "_final_obs": ended}
            nothing = {"level_id": np.zeros(self.num_envs, np.int64), "_level_id": np.zeros(self.num_envs, bool)}
            infos |= {"final_info": nothing, "_final_info": ended}
        return self._batch(result.observation), result.rewards, result.terminated, result.truncated, infos

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """RGB images uint8 of every slot, or None without a render mode; RuntimeError before the first reset."""
        if self.render_mode is None:
            return None
        if self._frames is None:
            raise RuntimeError("render before reset")
        view = self._environment.spec.view
        tile_size = 4 if view == "pixels" else 16
        return tuple(render_frame(frame, view=view, tile_size=tile_size) for frame in self._frames)

    def close_extras(self, **kwargs: Any) -> None:
        self._environment.close()

    def _parts(self, observation: Observation) -> Batch:
        return {name: observation.parts[PARTS.get(name, name)] for name in self._part_names}

    def _batch(self, observation: Observation) -> Batch:
        self._frames = observation.parts[FRAMES]
        return self._parts(observation)
