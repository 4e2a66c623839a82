"""Random inputs of policies."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lamflow.catalogue import AGENT_TILE, EnvironmentSpec
from lamflow.policies.network import PolicyInputs

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
