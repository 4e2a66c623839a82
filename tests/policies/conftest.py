"""Random inputs of policies, and episodes over pixels whose frames say which action was taken."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from lamflow.data.store import EpisodeArrays
from lamflow.envs.spec import EnvironmentSpec
from lamflow.envs.tiles import AGENT_TILE
from lamflow.policies.inputs import PolicyInputs

MakeInputs = Callable[..., PolicyInputs]


def categories(sizes: tuple[int, ...], *shape: int) -> Tensor:
    """uint8 [*shape, len(sizes)]."""
    return torch.stack([torch.randint(size, shape) for size in sizes], dim=-1).to(torch.uint8)


@pytest.fixture
def make_inputs() -> MakeInputs:
    """Makes ``count`` inputs of ``context`` frames; in full views each frame has one agent, as proprioception says."""

    def make(spec: EnvironmentSpec, count: int = 8, context: int = 1, seed: int = 0) -> PolicyInputs:
        torch.manual_seed(seed)
        frames = categories((13, 12), count, context, *spec.frame_shape[:2])
        parts = {"frames": frames, "proprioception": categories(spec.proprioception_sizes, count, context)}
        if spec.task_sizes:
            parts["task"] = categories(spec.task_sizes, count, 1).repeat(1, context, 1)
        if spec.view == "full":
            looks = parts["proprioception"].flatten(0, 1)
            for frame, (direction, _, color) in zip(frames.flatten(0, 1), looks, strict=True):
                row, column = torch.randint(spec.frame_shape[0], (2,))
                frame[row, column] = torch.stack([AGENT_TILE + direction, color])
        return PolicyInputs(parts, torch.ones(count, context, dtype=torch.bool))

    return make


COLOUR_ACTIONS = (2, 7, 11)
"""The action in red, green and blue frames."""


@pytest.fixture(scope="session")
def colours() -> Callable[..., EpisodeArrays]:
    """Makes episodes without final observations, as Procgen's: noisy frames of one colour each, which decides the action."""

    def make(episodes: int, *, length: int = 10, seed: int = 0) -> EpisodeArrays:
        generator = np.random.default_rng(seed)
        rows = episodes * length
        colour = generator.integers(3, size=rows)
        frames = generator.integers(100, size=(rows, 64, 64, 3), dtype=np.uint8)
        frames[np.arange(rows), :, :, colour] += 120
        return EpisodeArrays(
            observations={"frames": frames},
            actions=np.array(COLOUR_ACTIONS)[colour],
            acted=np.ones(rows, np.bool_),
            rewards=np.zeros(rows, np.float32),
            terminated=np.arange(rows) % length == length - 1,
            truncated=np.zeros(rows, np.bool_),
            episode_starts=np.arange(0, rows, length),
            level_seeds=np.arange(episodes),
        )

    return make
