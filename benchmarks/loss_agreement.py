"""How far the losses of LAM training lie from those of the plain float32 form, step by step, from equal weights on equal batches.

Claims: the float32 mode stays as near as the plain form stays to itself when its sums run in another order (the control: the same
network with its tensors in channels_last memory); the first loss of bf16 is within 1% and the mean of the last losses within 5%.
The plain form in float64, for the first steps, tells which of two float32 runs is off.
Prints one JSON object. ``python benchmarks/loss_agreement.py [size [steps]]``; LAPO's sizes take 20 seconds a step.
"""

import statistics
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import torch
from bench.arms import THREADS, report
from bench.command import arguments
from bench.data import write_store
from bench.library_training import library_batches
from bench.plain_training import Optimisation, stacked
from bench.sizes import Size, read_size
from torch import nn

from lamflow.training.loop import train
from lamflow.training.memory import keep_freed_memory
from lamflow.training.meters import TOTAL
from lamflow.training.metrics import MetricsLog
from lamflow.training.precision import default_device
from lamflow.training.settings import TrainingSettings

STEPS = 200
REPORTED = (1, 2, 5, 10, 20, 50, 100, 200)
LAST, FLOAT64_STEPS = 20, 5
NUM_ROWS = 8_000
PROCESSES = 2
BF16_TARGETS = {"bf16_first": 0.01, "bf16_last": 0.05}


def plain_losses(
    size: Size, store: Path, settings: TrainingSettings, *, reordered: bool = False, dtype: torch.dtype = torch.float32
) -> list[float]:
    """Of each step, or with float64 of the first ``FLOAT64_STEPS``; ``reordered``: in channels_last memory."""
    memory = torch.channels_last if reordered else torch.contiguous_format
    model = nn.utils.convert_conv2d_weight_memory_format(size.plain_model(), memory).to(default_device(), dtype).train()
    optimisation, batch_at = Optimisation(model, settings), library_batches(size, store)
    losses = []
    for step in range(min(settings.steps, FLOAT64_STEPS) if dtype == torch.float64 else settings.steps):
        frames = stacked(batch_at(step).frames.permute(0, 1, 4, 2, 3)).contiguous(memory_format=memory)
        losses.append(optimisation.step(step, model.loss(frames.to(dtype))))
    return losses


def library_losses(
    size: Size, store: Path, settings: TrainingSettings, *, precision: Literal["float32", "bf16"]
) -> list[float]:
    """Of each step."""
    model, metrics = size.model().to(default_device()), MetricsLog()
    changed = settings.model_copy(update={"precision": precision, "log_every": 1})
    batch_at = library_batches(size, store)
    train(module=model, batch_at=batch_at, loss=model.loss, settings=changed, metrics=metrics, title="")
    return [value for _, _, name, value in metrics.rows if name == TOTAL]


def _prepare() -> None:
    torch.set_num_threads(THREADS)
    keep_freed_memory()


def differences(losses: list[float], reference: list[float]) -> dict[str, float]:
    """Relative to the reference's loss: of some steps, and of the means of the last ``LAST`` where there are all."""
    found = {str(step): abs(losses[step - 1] / reference[step - 1] - 1) for step in REPORTED if step <= len(losses)}
    if len(losses) == len(reference):
        found["last"] = abs(statistics.mean(losses[-LAST:]) / statistics.mean(reference[-LAST:]) - 1)
    return {step: float(f"{value:.1e}") for step, value in found.items()}


def main(name: str = "procgen_laptop", steps: str = str(STEPS)) -> None:
    size = read_size(name)
    settings = size.lam.training.model_copy(update={"steps": int(steps)})
    runs: dict[str, Callable[[Size, Path, TrainingSettings], list[float]]] = {
        "baseline": plain_losses,
        "float64": partial(plain_losses, dtype=torch.float64),
        "control": partial(plain_losses, reordered=True),
        "lamflow_float32": partial(library_losses, precision="float32"),
        "lamflow_bf16": partial(library_losses, precision="bf16"),
    }
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "train.zarr"
        write_store(store, size.spec, NUM_ROWS)
        with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn"), initializer=_prepare) as pool:
            pending = {name: pool.submit(run, size, store, settings) for name, run in runs.items()}
            losses = {name: future.result() for name, future in pending.items()}
    reference = losses["baseline"]
    report(
        "loss_agreement",
        targets=BF16_TARGETS,
        size=size.name,
        steps=settings.steps,
        baseline_loss={str(step): reference[step - 1] for step in REPORTED if step <= len(reference)},
        relative_difference={
            name: differences(found, reference) for name, found in losses.items() if name != "baseline"
        },
    )


if __name__ == "__main__":
    main(*arguments(__doc__, "size", "steps"))
