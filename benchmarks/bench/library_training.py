"""Rounds of the library's training loop."""

from __future__ import annotations

import atexit
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from bench.arms import Figures, Round
from bench.machine import scaled, wait_for_device
from bench.sizes import Size
from lamflow.data.held_windows import WindowStream
from lamflow.data.latents import LatentStore
from lamflow.data.store import EpisodeStore
from lamflow.data.tensors import EpisodeTensors
from lamflow.data.windows import TRANSITION, Window, WindowSpec
from lamflow.policies.dataset import policy_inputs, policy_window
from lamflow.policies.learning import latent_objective
from lamflow.policies.network import PolicyInputs, PolicyNetwork
from lamflow.training.compilation import COMPILED_STEPS
from lamflow.training.loop import Loss, train
from lamflow.training.metrics import MetricsLog
from lamflow.training.precision import PrecisionSetting
from lamflow.training.settings import TrainingSettings

BatchT = TypeVar("BatchT")
UNCOUNTED_STEPS = 200
"""Steps on a GPU before the clock starts: kernels are compiled and CUDA graphs recorded there."""
GPU_STEPS = COMPILED_STEPS
"""Steps of a round on a GPU: shorter trainings are not compiled."""


def library_training(
    module: nn.Module,
    batch_at: Callable[[int], BatchT],
    loss: Callable[[BatchT], Loss],
    settings: TrainingSettings,
    steps: int,
    precision: PrecisionSetting,
) -> Round:
    """Rounds of ``steps`` steps of ``train`` without validation; ``module`` is on its device."""
    uncounted = scaled(0, UNCOUNTED_STEPS) if settings.compile == "auto" else 0
    changed = TrainingSettings.model_validate(
        settings.model_dump() | {"steps": uncounted + steps, "precision": precision}
    )
    started = 0.0

    def clocked(step: int) -> BatchT:
        nonlocal started
        if step == uncounted:
            wait_for_device()
            started = time.perf_counter()
        return batch_at(step)

    def play() -> Figures:
        train(module=module, batch_at=clocked, loss=loss, settings=changed, metrics=MetricsLog(), title="")
        wait_for_device()
        return {"samples": steps * settings.batch_size, "seconds": time.perf_counter() - started}

    return play


def library_batches(size: Size, store: Path, *, window_gib: float = 4.0) -> Callable[[int], Window]:
    """The windows of each step of a LAM's training on ``store``, on the default device."""
    data = EpisodeTensors.open(EpisodeStore.open(store), window_gib=window_gib)
    return opened_stream(data, TRANSITION, size.lam.training).window


def library_examples(
    size: Size, store: Path, latents: Path, *, window_gib: float = 4.0
) -> Callable[[int], tuple[PolicyInputs, torch.Tensor]]:
    """The batch of each step of latent behaviour cloning, on the default device."""
    settings = size.method.policy
    columns = {"latents": LatentStore.open(latents).rows("latents")}
    data = EpisodeTensors.open(EpisodeStore.open(store), window_gib=window_gib, columns=columns)
    stream = opened_stream(data, policy_window(settings, size.spec, "latents"), settings.training)

    def batch_at(step: int) -> tuple[PolicyInputs, torch.Tensor]:
        window = stream.window(step)
        return policy_inputs(window, size.spec), window.at("latents")

    return batch_at


def latent_cloning(network: PolicyNetwork) -> Callable[[tuple[PolicyInputs, torch.Tensor]], Loss]:
    """The loss of a batch of ``library_examples``."""

    def loss(batch: tuple[PolicyInputs, torch.Tensor]) -> Loss:
        inputs, latents = batch
        return Loss(latent_objective(network(inputs), latents))

    return loss


def opened_stream(data: EpisodeTensors, spec: WindowSpec, settings: TrainingSettings) -> WindowStream:
    """A stream of the transitions of ``data`` that stays open until the process ends."""
    opened = ExitStack()
    atexit.register(opened.close)
    return opened.enter_context(data.stream(spec, data.rows, settings.batch_size, 0))
