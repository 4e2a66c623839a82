"""Procgen by EnvPool, for machines without a wheel of procgen-mirror: the same interface, with fewer abilities.

EnvPool has no saved states, and a batch shares one range of levels, from which it draws by itself. So a slot cannot be put on a
level, and what needs that (evaluation on given levels, films, collection with level ids) stays with procgen-mirror. On Linux
it needs the system's Qt 5 libraries. Rewards and ends equal procgen-mirror's; a few pixels differ.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamflow.envs.interface import Observation, StepResult, VectorEnvironment
from lamflow.envs.spec import FRAMES, EnvironmentSpec

ANY_LEVEL = -1
"""In place of a level id: one that EnvPool draws."""


def _make_pool(spec: EnvironmentSpec, num_envs: int, levels: range, seed: int, num_threads: int) -> Any:
    try:
        envpool = importlib.import_module("envpool")
        game, mode = spec.simulator_id.split("/")
        return envpool.make_gymnasium(
            f"{game.capitalize()}{mode.capitalize()}-v0",
            num_envs=num_envs,
            num_threads=num_threads,
            seed=seed,
            start_level=levels.start,
            num_levels=len(levels),
            channel_first=False,
        )
    except ImportError as error:
        raise ValueError(
            f"backend envpool: {str(error).rstrip('.')}; pip install envpool and the system's Qt 5 (libqt5gui5), or leave the backend at "
            "procgen"
        ) from error


class EnvPoolVectorEnvironment(VectorEnvironment):
    """``num_envs`` copies of one game on levels drawn from ``levels`` (see ``interface.VectorEnvironment``).

    The draws are a function of ``seed``. EnvPool knows the terminal frame, but ``final_observation`` is None here too, so that both
    backends give the same data.
    """

    def __init__(
        self, spec: EnvironmentSpec, num_envs: int, *, levels: range, seed: int = 0, num_threads: int = 0
    ) -> None:
        if num_envs < 1 or not len(levels) or levels.step != 1:
            raise ValueError(
                f"found num_envs {num_envs} and {levels}, expected a positive number and a range of levels"
            )
        self.spec = spec
        self.num_envs = num_envs
        self._pool = _make_pool(spec, num_envs, levels, seed, num_threads)
        self._level_ids = np.full(num_envs, ANY_LEVEL, np.int64)
        self._running = False

    def reset(self, level_ids: NDArray[np.int64]) -> Observation:
        """Start one episode a slot; ``level_ids`` int64 [num_envs] are all ``ANY_LEVEL``, ValueError for others."""
        if level_ids.shape != (self.num_envs,) or (level_ids != ANY_LEVEL).any():
            raise ValueError(
                f"{self.spec.name}: found level ids {level_ids.tolist()[:4]}, expected {self.num_envs} times {ANY_LEVEL}: EnvPool cannot "
                "put a slot on a level; use the backend procgen"
            )
        frames, info = self._pool.reset()
        self._level_ids = info["level_seed"].astype(np.int64)
        self._running = True
        return Observation({FRAMES: frames.copy()})

    def send(self, actions: NDArray[np.int64]) -> None:
        """Act with ``actions`` int64 [num_envs]; RuntimeError before the first reset."""
        if not self._running:
            raise RuntimeError(f"{self.spec.name}: step before reset")
        self._pool.send(actions.astype(np.int32))

    def receive(self) -> StepResult:
        """What came of the actions that were sent last; waits for EnvPool's threads."""
        frames, rewards, terminated, truncated, info = self._pool.recv()
        frames, ends = frames.copy(), terminated | truncated
        truncated = ends & (info["elapsed_step"] >= self.spec.max_steps)  # as procgen.py decides it
        # EnvPool resets in the step after an episode's end; this interface promises the next episode's first frame at once.
        if len(ended := np.flatnonzero(ends)):
            first, info = self._pool.reset(ended.astype(np.int32))
            order = np.argsort(info["env_id"])
            frames[ended] = first[order]
            self._level_ids[ended] = info["level_seed"][order]
        return StepResult(
            observation=Observation({FRAMES: frames}),
            final_observation=None,
            rewards=rewards.astype(np.float32),
            terminated=ends & ~truncated,
            truncated=truncated,
            level_ids=self._level_ids.copy(),
        )

    def close(self) -> None:
        """End EnvPool's threads."""
        self._pool.close()
