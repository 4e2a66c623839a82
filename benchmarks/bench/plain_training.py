"""Training as an ordinary implementation of LAPO does it: an eager float32 network, a DataLoader over arrays in memory, Adam.

The arrays are what LAPO holds: uint8 frames [N, C, H, W]. Batches go to the device as uint8 and become floats there, as LAPO's
do. The DataLoader has no workers, as in a job of one core. Nothing of the library's is used but its settings and schedule.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from bench.arms import Figures, Round
from bench.machine import wait_for_device
from lamflow.data.store import EpisodeStore
from lamflow.data.windows import EpisodeBounds, transition_rows
from lamflow.training.loop import learning_rate_at
from lamflow.training.precision import default_device
from lamflow.training.settings import TrainingSettings

PLAIN_GPU_STEPS = 200
"""Steps of a round on a GPU."""


class Windows(Dataset[Tensor]):
    """(o_{t-1}, o_t, o_{t+1}) of every transition: uint8 [3, *frame_shape], of Procgen [3, C, H, W]."""

    def __init__(self, store: EpisodeStore) -> None:
        arrays = store.load()
        frames = torch.from_numpy(arrays.frames)
        self.frames = frames.permute(0, 3, 1, 2).contiguous() if frames.shape[-1] == 3 else frames
        rows = transition_rows(arrays)
        before = torch.maximum(rows - 1, EpisodeBounds.of(arrays).starts[rows])
        self.rows = torch.stack([before, rows, rows + 1], dim=1)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Tensor:
        return self.frames[self.rows[number]]


class LabelledFrames(Dataset[tuple[Tensor, Tensor]]):
    """Frames uint8 [C, H, W] of every transition and a target for each: ``targets`` [N, ...] are those of the store's rows."""

    def __init__(self, store: EpisodeStore, targets: Tensor) -> None:
        arrays = store.load()
        self.frames = torch.from_numpy(arrays.frames).permute(0, 3, 1, 2).contiguous()
        self.rows, self.targets = transition_rows(arrays), targets

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        row = self.rows[number]
        return self.frames[row], self.targets[row]


def normalised(frames: Tensor) -> Tensor:
    """uint8 to float32 in -.5 .. .5, as LAPO does it."""
    return frames.float() / 255 - 0.5


def stacked(windows: Tensor) -> Tensor:
    """Windows uint8 [B, 3, C, H, W] as a network's input, float32 [B, 3C, H, W]."""
    return normalised(windows.flatten(1, 2))


class Optimisation:
    """Adam with LAPO's schedule and clipping; answers the loss of each step as a float."""

    def __init__(self, module: nn.Module, settings: TrainingSettings) -> None:
        self.module = module
        self.settings = settings
        self.optimizer = torch.optim.Adam(module.parameters(), lr=settings.learning_rate, eps=settings.adam_epsilon)

    def step(self, number: int, loss: Tensor) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate_at(number, self.settings)
        self.optimizer.zero_grad()
        loss.backward()
        if self.settings.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.module.parameters(), self.settings.clip_norm)
        self.optimizer.step()
        return loss.item()


def endless(dataset: Dataset[Any], batch_size: int) -> Iterator[Any]:
    """Shuffled batches, epoch after epoch."""
    loader = DataLoader(dataset, batch_size=batch_size, shuffle=True, drop_last=True)
    while True:
        yield from loader


def plain_training(
    module: nn.Module, dataset: Dataset[Any], loss: Callable[[Any], Tensor], settings: TrainingSettings, steps: int
) -> Round:
    """Rounds of ``steps`` steps; ``loss`` is that of a batch on the module's device."""
    module.to(default_device()).train()
    optimisation, batches = Optimisation(module, settings), endless(dataset, settings.batch_size)

    def play() -> Figures:
        wait_for_device()
        started = time.perf_counter()
        for number in range(steps):
            optimisation.step(number, loss(on_device(next(batches))))
        wait_for_device()
        return {"samples": steps * settings.batch_size, "seconds": time.perf_counter() - started}

    return play


def on_device(batch: Any) -> Any:
    """A tensor, or each of a list of them."""
    device = default_device()
    return batch.to(device) if isinstance(batch, Tensor) else [part.to(device) for part in batch]
