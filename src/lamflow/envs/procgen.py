"""Procgen (Cobbe et al. 2020) behind the vector-environment interface, by procgen-mirror.

A level id is Procgen's level seed, 0 to 2^31 - 1; given the actions, an episode is a function of its level. Procgen sets
levels for a whole batch only (a start and a number of levels), so a slot gets its level by the saved state of a batch of one that
knows just that level; this costs about a millisecond an episode. Procgen answers the last step of an episode with the
first frame of the next one: the terminal frame is never seen, and ``StepResult.final_observation`` is None.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamflow.envs.interface import Observation, StepResult, VectorEnvironment, check_actions, check_level_ids
from lamflow.envs.spec import FRAMES, EnvironmentSpec

NUM_LEVELS = 2**31
"""Procgen's level seeds are 0 .. NUM_LEVELS - 1."""


@cache
def _simulator_class() -> Any:
    """``procgen.env.ProcgenGym3Env``. The package's own ``__init__`` is left out: all it does is register with the old gym."""
    if "procgen" not in sys.modules:
        found = importlib.util.find_spec("procgen")
        if found is None or found.submodule_search_locations is None:
            raise ValueError("procgen is not installed: pip install --no-deps procgen-mirror gym3")
        package = ModuleType("procgen")
        package.__path__ = list(found.submodule_search_locations)
        sys.modules["procgen"] = package
    from procgen.env import ProcgenGym3Env

    return ProcgenGym3Env


@cache
def _asset_folder() -> str:
    """The folder of Procgen's pictures as its C side can be given it.

    gym3 passes a text's number of characters as its number of bytes, so an umlaut cuts letters off its end; and Qt finds no such folder in
    the C locale. A folder with other than ASCII letters is therefore named by its open descriptor where the system can (Linux), else with
    as many slashes at its end as would be lost.
    """
    _simulator_class()
    folder = str(Path(sys.modules["procgen"].__path__[0], "data", "assets")) + os.sep
    if folder.isascii():
        return folder
    if Path("/proc/self/fd").is_dir():
        return f"/proc/self/fd/{os.open(folder, os.O_RDONLY | os.O_DIRECTORY)}/"
    return folder + os.sep * (len(folder.encode()) - len(folder))


def make_simulator(spec: EnvironmentSpec, num_envs: int, *, start_level: int, num_levels: int, **options: Any) -> Any:
    """A gym3 batch of Procgen; its own draws of levels are seeded with 0, so it is deterministic."""
    game, mode = spec.simulator_id.split("/")
    return _simulator_class()(
        num=num_envs,
        env_name=game,
        distribution_mode=mode,
        start_level=start_level,
        num_levels=num_levels,
        rand_seed=0,
        resource_root=_asset_folder(),
        **options,
    )


def first_state(spec: EnvironmentSpec, level_id: int) -> bytes:
    """The saved state in which the episode of ``level_id`` begins; ValueError for a level that does not exist."""
    if not 0 <= level_id < NUM_LEVELS:
        raise ValueError(f"{spec.name}: found level {level_id}, expected 0 to {NUM_LEVELS - 1}")
    simulator = make_simulator(spec, 1, start_level=int(level_id), num_levels=1, num_threads=0)
    simulator.observe()
    state: bytes = simulator.get_state()[0]
    simulator.close()
    return state


class ProcgenVectorEnvironment(VectorEnvironment):
    """``num_envs`` copies of one game (see ``interface.VectorEnvironment``).

    With a ``level_stream``, an iterator of level ids, every episode after a slot's first takes the stream's next level, in
    the order of slots within a step; a stream that has run dry leaves each slot on its level. ``num_threads`` of the
    simulator's own threads step the games, 0 the caller's; they change no result. With threads ``send`` returns at once,
    and the caller may compute while the games go on.
    """

    def __init__(
        self,
        spec: EnvironmentSpec,
        num_envs: int,
        level_stream: Iterator[int] | None = None,
        *,
        num_threads: int = 0,
        render: bool = False,
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs: found {num_envs}, expected a positive number")
        self.spec = spec
        self.num_envs = num_envs
        self._stream = level_stream
        self._render = render
        self._num_threads = num_threads
        self._simulator = self._games(num_envs)
        self._level_ids = np.zeros(num_envs, np.int64)
        self._lengths = np.zeros(num_envs, np.int64)
        self._running = False

    def reset(self, level_ids: NDArray[np.int64]) -> Observation:
        """Start one episode a slot on ``level_ids`` int64 [num_envs]; ValueError for another number of levels."""
        check_level_ids(self.spec, self.num_envs, level_ids)
        for slot, level in enumerate(level_ids.tolist()):
            self._place(slot, level)
        self._running = True
        return self._observe()

    def send(self, actions: NDArray[np.int64]) -> None:
        """Act with ``actions`` int64 [num_envs]; RuntimeError before the first reset, ValueError for actions out of range."""
        if not self._running:
            raise RuntimeError(f"{self.spec.name}: step before reset")
        check_actions(self.spec, self.num_envs, actions)
        self._simulator.act(actions)

    def receive(self) -> StepResult:
        """What came of the actions that were sent last; waits for the simulator's threads."""
        rewards, _, first = self._simulator.observe()
        rewards, ended = rewards.astype(np.float32), np.array(first, np.bool_)
        self._lengths += 1
        # ASSUME: an episode as long as the game's time limit was cut by it; Procgen does not say.
        truncated = ended & (self._lengths >= self.spec.max_steps)
        self._lengths[ended] = 0
        if self._stream is not None:
            for slot, level in zip(np.flatnonzero(ended).tolist(), self._stream, strict=False):
                self._place(slot, level)
        return StepResult(
            observation=self._observe(),
            final_observation=None,
            rewards=rewards,
            terminated=ended & ~truncated,
            truncated=truncated,
            level_ids=self._level_ids.copy(),
        )

    def save(self) -> dict[str, Any]:
        """All that makes the future of the slots, but the level stream: saved states, levels and lengths."""
        return {
            "states": self._simulator.get_state(),
            "level_ids": self._level_ids.copy(),
            "lengths": self._lengths.copy(),
        }

    def restore(self, saved: dict[str, Any]) -> Observation:
        """Go on from ``save``'s answer; the present observation."""
        self._simulator.set_state(saved["states"])
        self._level_ids, self._lengths = saved["level_ids"].copy(), saved["lengths"].copy()
        self._running = True
        return self._observe()

    def keep(self, slots: NDArray[np.int64]) -> Observation:
        """Go on with ``slots`` alone, in a smaller simulator, as a game that nobody plays costs as much time as any."""
        saved = self.save()
        self._simulator.close()
        self.num_envs, self._simulator = len(slots), self._games(len(slots))
        states = [saved["states"][slot] for slot in slots.tolist()]
        return self.restore(
            {"states": states, "level_ids": saved["level_ids"][slots], "lengths": saved["lengths"][slots]}
        )

    def pictures(self) -> list[NDArray[np.uint8]]:
        """What every slot shows now as uint8 [512, 512, 3], larger than the agents see it; ValueError without ``render``."""
        if not self._render:
            raise ValueError(f"{self.spec.name}: made without render=True, so there are no pictures")
        return [info["rgb"].copy() for info in self._simulator.get_info()]

    def close(self) -> None:
        """End the simulator's threads."""
        self._simulator.close()

    def _games(self, num_envs: int) -> Any:
        """A simulator of so many games."""
        mode = {"render_mode": "rgb_array"} if self._render else {}
        return make_simulator(self.spec, num_envs, start_level=0, num_levels=1, num_threads=self._num_threads, **mode)

    def _place(self, slot: int, level: int) -> None:
        """Put a slot at the beginning of ``level``."""
        state = first_state(self.spec, level)
        self._simulator.call_c_func("set_state", slot, state, len(state))
        self._level_ids[slot] = level
        self._lengths[slot] = 0

    def _observe(self) -> Observation:
        frames: NDArray[np.uint8] = self._simulator.observe()[1]["rgb"]
        return Observation({FRAMES: frames.copy()})
