"""Episodes of a Procgen game, written by others' libraries in each layout that lamflow reads: none of its own code is used.

Shapes: n actions of an episode.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from hdf5_data import write as write_hdf5
from lerobot_files import TASKS, TOP, Recording
from minari.data_collector.episode_buffer import EpisodeBuffer
from minari_data import write as write_minari_set
from numpy.typing import NDArray
from video_clips import write_video

from lamflow.envs.presets import preset
from lamflow.envs.procgen import make_simulator

LIMITS = (22, 30, 19, 25, 40, 28)
"""Actions after which episodes are cut; the fifth one ends before."""
SHOOT, NO_DIRECTION = 9, 4


@dataclass(frozen=True)
class Played:
    """An episode.

    ``frames`` uint8 [n + 1, 64, 64, 3] and ``state`` float32 [n + 1, 3] (seconds, return so far, level): the last ones were seen after the
    last action; ``actions`` int64 [n], Procgen's buttons, or float32 [n, 2], where the stick was; ``rewards`` float32 [n].
    """

    frames: NDArray[np.uint8]
    state: NDArray[np.float32]
    actions: NDArray[Any]
    rewards: NDArray[np.float32]
    terminated: bool

    @property
    def length(self) -> int:
        return len(self.actions)

    @property
    def ends(self) -> NDArray[np.bool_]:
        """bool [n]: whether the action ended the game."""
        return (np.arange(self.length) == self.length - 1) & self.terminated


def play(level: int, limit: int, *, continuous: bool) -> Played:
    """A level of bigfish with a stick that is thrown about. After its last picture Procgen shows the next game's first one, and so is that
    the one that was seen last."""
    simulator = make_simulator(preset("procgen-bigfish"), 1, start_level=level, num_levels=1, num_threads=0)
    sticks = np.random.default_rng(level).uniform(-1, 1, (limit, 2)).astype(np.float32)
    directions = np.rint(1.5 * sticks).astype(np.int64) @ [3, 1] + NO_DIRECTION
    buttons = np.where(directions == NO_DIRECTION, SHOOT, directions)
    frames, rewards, ended = [simulator.observe()[1]["rgb"][0].copy()], [], False
    while not ended and len(rewards) < limit:
        simulator.act(buttons[len(rewards)][None].astype(np.int32))
        reward, observation, is_first = simulator.observe()
        frames.append(observation["rgb"][0].copy())
        rewards.append(reward[0])
        ended = bool(is_first[0])
    actions = (sticks if continuous else buttons)[: len(rewards)]
    seconds, returns = np.arange(len(frames)) / 15, np.cumsum([0, *rewards])
    state = np.stack([seconds, returns, np.full(len(frames), level)], axis=1).astype(np.float32)
    return Played(np.stack(frames), state, actions, np.array(rewards, np.float32), ended)


def play_all(*, continuous: bool) -> list[Played]:
    """Six episodes, of which one ends by itself."""
    return [play(level, limit, continuous=continuous) for level, limit in enumerate(LIMITS)]


def write_clips(root: Path, episodes: Sequence[Played], **encoding: Any) -> dict[str, Any]:
    """A video per episode, and a table of actions."""
    for number, episode in enumerate(episodes):
        write_video(root / "clips" / f"{number:02d}.mp4", episode.frames[:-1], rate=15, **encoding)
    entries = ["action"] if episodes[0].actions.ndim == 1 else ["action_0", "action_1"]
    with (root / "actions.csv").open("w", newline="") as opened:
        table = csv.writer(opened)
        table.writerow(["episode", "frame", *entries])
        for number, episode in enumerate(episodes):
            rows = episode.actions.reshape(episode.length, -1).tolist()
            table.writerows((f"{number:02d}", frame, *row) for frame, row in enumerate(rows))
    return {"kind": "video", "path": str(root / "clips"), "actions": str(root / "actions.csv")}


def write_lerobot(
    root: Path, episodes: Sequence[Played], *, write: Callable[..., Path], codec: str | None
) -> dict[str, Any]:
    recorded = [
        Recording(
            {TOP: episode.frames[:-1]},
            episode.state[:-1],
            episode.actions,
            TASKS[0],
            episode.terminated,
            rewards=episode.rewards,
        )
        for episode in episodes
    ]
    path = write(root / "set", recorded, codec)
    return {"kind": "lerobot", "path": str(path), "parts": {"state": "observation.state"}}


def write_minari(root: Path, episodes: Sequence[Played], *, jpeg: bool, layout: str = "hdf5") -> dict[str, Any]:
    box, first = gymnasium.spaces.Box, episodes[0].actions
    buffers = [
        EpisodeBuffer(
            observations={"frames": episode.frames, "state": episode.state},
            actions=episode.actions,
            rewards=episode.rewards.tolist(),
            terminations=episode.ends.tolist(),
            truncations=(~episode.ends & (np.arange(episode.length) == episode.length - 1)).tolist(),
            infos={},
        )
        for episode in episodes
    ]
    observation = {"frames": box(0, 255, (64, 64, 3), np.uint8), "state": box(-np.inf, np.inf, (3,), np.float32)}
    action = gymnasium.spaces.Discrete(15) if first.ndim == 1 else box(-1, 1, (2,), np.float32)
    space = gymnasium.spaces.Dict(observation)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MINARI_DATASETS_PATH", str(root))
        path = write_minari_set(root, buffers, space, action, data_format=layout, jpeg_encoding=jpeg)
    return {"kind": "minari", "path": str(path)}


def write_robomimic(root: Path, episodes: Sequence[Played]) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    for number, episode in enumerate(episodes):
        arrays |= {
            f"data/demo_{number}/obs/agentview_image": episode.frames[:-1],
            f"data/demo_{number}/obs/state": episode.state[:-1].astype(np.float64),  # as robosuite has them
            f"data/demo_{number}/next_obs/agentview_image": episode.frames[1:],
            f"data/demo_{number}/actions": episode.actions.astype(np.promote_types(episode.actions.dtype, np.int64)),
            f"data/demo_{number}/rewards": episode.rewards.astype(np.float64),
            f"data/demo_{number}/dones": episode.ends.astype(np.int64),
        }
    path = write_hdf5(root / "game.hdf5", arrays)
    return {"kind": "hdf5", "path": str(path), "keys": {"parts": {"state": "obs/state"}}}


def write_npz(root: Path, episodes: Sequence[Played]) -> dict[str, Any]:
    for number, episode in enumerate(episodes):
        np.savez_compressed(
            root / f"{number}.npz",
            frames=episode.frames[:-1],
            state=episode.state[:-1],
            actions=episode.actions,
            rewards=episode.rewards,
            terminated=episode.ends,
        )
    return {"kind": "npz", "path": str(root), "observations": {"frames": "frames", "state": "state"}}
