"""Samples a second of LAM training at LAPO's sizes, the laptop preset's and the quickstart's, beside LAPO's plain form.

Claims: by default settings, at LAPO's sizes, at least 4 times the plain form's rate on a CPU with AMX and 3 times on one with AVX512_BF16
alone; the loop's own work is below 5% of a step at the laptop preset. The arm of the other precision says whether ``auto`` was right.
The plain form of the quickstart's grids is the library's network in float32, as LAPO has none.
Prints one JSON object; ``python benchmarks/lam_training.py [size ...]`` measures some sizes only.
"""

import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from bench.arms import Figures, Round, compared, report, rounded, take_turns
from bench.command import arguments
from bench.data import write_store
from bench.library_training import GPU_STEPS, library_batches, library_training
from bench.machine import PLAIN, not_taken, precision_here, scaled, wait_for_device
from bench.plain_training import PLAIN_GPU_STEPS, Windows, plain_training, stacked
from bench.sizes import Size, read_size
from torch.utils.flop_counter import FlopCounterMode

from lamflow.data.store import EpisodeStore
from lamflow.data.windows import Window
from lamflow.training.loop import Loss
from lamflow.training.memory import keep_freed_memory
from lamflow.training.precision import PrecisionSetting, Processor, default_device

STEPS = {"paper": 1, "procgen_laptop": 10, "quickstart": 60}
"""Of a round on a CPU: seconds of the plain form."""
ROWS = {"paper": 2_000, "procgen_laptop": 8_000, "quickstart": 20_000}
ROUNDS = {"paper": 3, "procgen_laptop": 5, "quickstart": 5}
COUNTED_BATCH = 4
TARGETS: dict[Processor, float] = {"CPU with AMX": 4.0, "CPU with AVX512_BF16": 3.0}
LOOP_TARGET = 0.05


def plain_arm(size: Size, store: Path) -> Round:
    dataset, steps = Windows(EpisodeStore.open(store)), scaled(STEPS[size.name], PLAIN_GPU_STEPS)
    if size.spec.view == "pixels":
        model = size.plain_model()
        return plain_training(model, dataset, lambda batch: model.loss(stacked(batch)), size.lam.training, steps)
    grids = size.model()
    return plain_training(
        grids, dataset, lambda batch: grids.loss(Window.of_frames(batch)).total, size.lam.training, steps
    )


def library_arm(size: Size, store: Path, precision: PrecisionSetting) -> Round:
    keep_freed_memory()
    model, batch_at = size.model().to(default_device()), library_batches(size, store)
    steps = scaled(STEPS[size.name], GPU_STEPS)
    return library_training(model, batch_at, model.loss, size.lam.training, steps, precision)


@contextmanager
def timed(spent: dict[str, float], owner: Any, name: str, part: str) -> Iterator[None]:
    """Adds the seconds of calls of ``owner.name`` to ``spent[part]``."""
    original = getattr(owner, name)

    def call(*arguments: Any, **options: Any) -> Any:
        wait_for_device()
        started = time.perf_counter()
        result = original(*arguments, **options)
        wait_for_device()
        spent[part] += time.perf_counter() - started
        return result

    with patch.object(owner, name, call):
        yield


def parts_arm(size: Size, store: Path) -> Round:
    """Shares of a training's seconds; on a GPU each part is waited for, so there the rest is more than it is in a training."""
    keep_freed_memory()
    model, batch_at = size.model().to(default_device()), library_batches(size, store)
    spent: dict[str, float] = defaultdict(float)

    def loss(window: Window) -> Loss:
        started = time.perf_counter()
        answer = model.loss(window)
        wait_for_device()
        spent["forward"] += time.perf_counter() - started
        return answer

    def batch(step: int) -> Window:
        started = time.perf_counter()
        window = batch_at(step)
        wait_for_device()
        spent["batches"] += time.perf_counter() - started
        return window

    settings = size.lam.training.model_copy(update={"compile": "off"})
    training = library_training(model, batch, loss, settings, STEPS[size.name], "auto")

    def play() -> Figures:
        spent.clear()
        with (
            timed(spent, torch.Tensor, "backward", "backward"),
            timed(spent, torch.nn.utils, "clip_grad_norm_", "clipping"),
            timed(spent, torch.optim.AdamW, "step", "optimiser"),
        ):
            seconds = training()["seconds"]
        shares = {part: value / seconds for part, value in spent.items()}
        return {**shares, "loop": 1 - sum(shares.values()) + shares["batches"]}

    return play


def gflop_a_sample(size: Size) -> float:
    """Forward and backward of the plain form, as its convolutions and matrix products have them."""
    shape = (COUNTED_BATCH, 3, *size.spec.frame_shape)
    with FlopCounterMode(display=False) as counter:
        if size.spec.view == "pixels":
            frames = torch.zeros(shape).permute(0, 1, 4, 2, 3).flatten(1, 2)
            size.plain_model().train().loss(frames).backward()
        else:
            size.model().loss(Window.of_frames(torch.zeros(shape, dtype=torch.uint8))).total.backward()
    return counter.get_total_flops() / COUNTED_BATCH / 1e9


def measured(size: Size, folder: Path) -> dict[str, Any]:
    store = folder / f"{size.name}.zarr"
    write_store(store, size.spec, ROWS[size.name])
    taken = precision_here("auto", size.model())
    other = not_taken(taken)
    found = compared(
        {
            "baseline": partial(plain_arm, size, store),
            "lamflow": partial(library_arm, size, store, "auto"),
            f"lamflow_{other.name}": partial(library_arm, size, store, other.name),
        },
        rounds=ROUNDS[size.name],
        gflop_a_sample=gflop_a_sample(size),
        precisions={"baseline": PLAIN, "lamflow": taken, f"lamflow_{other.name}": other},
    )
    if size.name != "procgen_laptop":
        return found
    turns = take_turns({"parts": partial(parts_arm, size, store)}, rounds=ROUNDS[size.name])
    names = sorted(turns.rounds[0]["parts"])
    return {**found, "shares_of_a_step": {name: rounded(turns.median("parts", name)) for name in names}}


def main(*names: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        sizes = {name: measured(read_size(name), Path(folder)) for name in names or STEPS}
    report("lam_training", targets={"lamflow_over_baseline": TARGETS, "loop": LOOP_TARGET}, sizes=sizes)


if __name__ == "__main__":
    main(*arguments(__doc__, many="size"))
