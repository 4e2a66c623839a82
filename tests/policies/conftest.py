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
    columns = [torch.randint(size, shape) for size in sizes] or [torch.zeros(*shape, 0)]
    return (torch.stack(columns, dim=-1) if sizes else columns[0]).to(torch.uint8)


@pytest.fixture
def make_inputs() -> MakeInputs:
    """Makes ``count`` inputs of ``context`` frames; in full views each frame has one agent, as proprioception says."""

    def make(spec: EnvironmentSpec, count: int = 8, context: int = 1, seed: int = 0) -> PolicyInputs:
        torch.manual_seed(seed)
        frames = categories((13, 12), count, context, *spec.frame_shape[:2])
        proprioception = categories(spec.proprioception_sizes, count, context)
        if spec.view == "full":
            for frame, (direction, _, color) in zip(frames.flatten(0, 1), proprioception.flatten(0, 1), strict=True):
                row, column = torch.randint(spec.frame_shape[0], (2,))
                frame[row, column] = torch.stack([AGENT_TILE + direction, color])
        begun = torch.ones(count, context, dtype=torch.bool)
        return PolicyInputs(frames, begun, proprioception, categories(spec.task_sizes, count))

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
            observations=frames,
            proprioception=np.zeros((rows, 0), np.uint8),
            task=np.zeros((rows, 0), np.uint8),
            actions=np.array(COLOUR_ACTIONS)[colour],
            rewards=np.zeros(rows, np.float32),
            terminated=np.arange(rows) % length == length - 1,
            truncated=np.zeros(rows, np.bool_),
            episode_starts=np.arange(0, rows, length),
            level_seeds=np.arange(episodes),
        )

    return make
