"""A linear world: x_{t+1} = A x_t + B a_t + noise, whose best prediction is known in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lamflow.data.store import EpisodeArrays
from lamflow.envs.spec import EnvironmentSpec
from lamflow.spaces import Box, Vector

ENTRIES, ACTIONS, LENGTH, NOISE = 6, 2, 30, 0.1
UNITS = np.array([1.0, 100.0, 0.01, 1.0, 5.0, 1.0])
"""In which the entries are measured."""
SPEC = EnvironmentSpec(
    name="linear-world",
    family="gymnasium",
    observation={"state": Vector((ENTRIES,))},
    main="state",
    action=Box((-1.0,) * ACTIONS, (1.0,) * ACTIONS),
    max_steps=LENGTH,
)
SETTINGS: dict[str, Any] = {
    "inverse_dynamics": {"kind": "mlp", "hidden_width": 64},
    "forward_dynamics": {"kind": "mlp", "hidden_width": 64},
    "quantizer": {"kind": "none", "codebooks": 1, "tokens": 1, "code_dim": ACTIONS},
    "training": {"steps": 400, "batch_size": 128, "learning_rate": 4e-3, "validate_every": 400, "precision": "float32"},
}


def linear_episodes(num_episodes: int, seed: int) -> EpisodeArrays:
    """Episodes of LENGTH random actions, with their final observations."""
    world, generator = np.random.default_rng(7), np.random.default_rng(seed)
    transition = 0.8 * np.eye(ENTRIES) + 0.05 * world.normal(size=(ENTRIES, ENTRIES))
    control = world.normal(size=(ENTRIES, ACTIONS))
    rows = LENGTH + 1
    states = np.zeros((num_episodes, rows, ENTRIES))
    actions = generator.uniform(-1, 1, (num_episodes, rows, ACTIONS))
    actions[:, -1] = 0
    states[:, 0] = generator.normal(size=(num_episodes, ENTRIES))
    for step in range(LENGTH):
        noise = NOISE * generator.normal(size=(num_episodes, ENTRIES))
        states[:, step + 1] = states[:, step] @ transition.T + actions[:, step] @ control.T + noise
    flags = np.zeros((num_episodes, rows), np.bool_)
    acted, ends = ~flags, flags.copy()
    acted[:, -1], ends[:, -2] = False, True
    return EpisodeArrays(
        observations={"state": (states * UNITS).astype(np.float32).reshape(-1, ENTRIES)},
        actions=actions.astype(np.float32).reshape(-1, ACTIONS),
        acted=acted.reshape(-1),
        rewards=np.zeros(num_episodes * rows, np.float32),
        terminated=flags.reshape(-1),
        truncated=ends.reshape(-1),
        episode_starts=np.arange(0, num_episodes * rows, rows),
        level_seeds=np.arange(num_episodes),
        main="state",
    )


def random_frames(count: int, frames: int) -> Tensor:
    """float32 [count, frames, ENTRIES] in the world's units."""
    return torch.randn(count, frames, ENTRIES) * torch.from_numpy(UNITS).float()
