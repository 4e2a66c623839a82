"""Transitions a second of relabelling a store on disk by a LAM's IDM and quantiser, beside its plain form.

Claim: by default settings, at LAPO's sizes, at least 4 times the plain form's rate on a CPU with AMX and 3.5 times on one with AVX512_BF16
alone. Both arms begin with a store on disk
and end with the latents and codes of all transitions on disk: the library's with the stage's own function, the plain form with
a DataLoader and numpy files, reading the store by the library's reader. Prints one JSON object; ``python benchmarks/relabelling.py
[size ...]`` measures some sizes only.
"""

import shutil
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench.arms import Figures, Round, compared, report
from bench.command import arguments
from bench.data import write_store
from bench.machine import PLAIN, precision_here, scaled, wait_for_device
from bench.plain_training import Windows, on_device, stacked
from bench.sizes import Size, read_size
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

from lamflow.data.store import EpisodeStore
from lamflow.envs.presets import preset
from lamflow.stages.relabel_episodes import relabel_episodes
from lamflow.training.checkpoint import save_model
from lamflow.training.memory import keep_freed_memory
from lamflow.training.precision import Processor, default_device

NUM_ROWS = {"paper": scaled(500, 200_000), "procgen_laptop": scaled(12_000, 200_000)}
PLAIN_BATCH = 128
"""LAPO's only batch size."""
ROUNDS = {"paper": 3, "procgen_laptop": 5}
COUNTED_BATCH = 4
TARGETS: dict[Processor, float] = {"CPU with AMX": 4.0, "CPU with AVX512_BF16": 3.5}
SEED = 0


@torch.no_grad()
def plain_arm(size: Size, store: Path) -> Round:
    model = size.plain_model().to(default_device()).eval()
    output = store.with_name(f"{store.stem}_plain.npz")

    @torch.no_grad()
    def play() -> Figures:
        started = time.perf_counter()
        dataset = Windows(EpisodeStore.open(store))
        latents, codes = [], []
        for batch in DataLoader(dataset, batch_size=PLAIN_BATCH):
            continuous = model.inverse_dynamics(stacked(on_device(batch)))
            latents.append(continuous.cpu())
            codes.append(model.quantizer(continuous)[1].cpu())
        np.savez(output, latents=torch.cat(latents).numpy(), codes=torch.cat(codes, dim=1).numpy())
        return {"samples": len(dataset), "seconds": time.perf_counter() - started}

    return play


def library_arm(size: Size, store: Path) -> Round:
    keep_freed_memory()
    model, output = store.with_name(f"{store.stem}_lam.safetensors"), store.with_name(f"{store.stem}_latents.zarr")
    header = {"kind": "lam", "env": size.spec.name, "lam": "lapo", "seed": SEED}
    save_model(model, size.model().state_dict(), header | {"settings": size.lam.model_dump(mode="json")})
    samples = EpisodeStore.open(store).num_transitions

    def play() -> Figures:
        shutil.rmtree(output, ignore_errors=True)
        started = time.perf_counter()
        relabel_episodes(
            environment=preset(size.spec.name).facts(),
            lam="lapo",
            seed=SEED,
            model=model,
            episodes=store,
            output=output,
        )
        wait_for_device()
        return {"samples": samples, "seconds": time.perf_counter() - started}

    return play


def gflop_a_sample(size: Size) -> float:
    """Forward of the plain form's IDM."""
    height, width, channels = size.spec.frame_shape
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        size.plain_model().inverse_dynamics(torch.zeros(COUNTED_BATCH, 3 * channels, height, width))
    return counter.get_total_flops() / COUNTED_BATCH / 1e9


def measured(size: Size, folder: Path) -> dict[str, Any]:
    store = folder / f"{size.name}.zarr"
    write_store(store, size.spec, NUM_ROWS[size.name])
    return compared(
        {"baseline": partial(plain_arm, size, store), "lamflow": partial(library_arm, size, store)},
        rounds=ROUNDS[size.name],
        gflop_a_sample=gflop_a_sample(size),
        precisions={"baseline": PLAIN, "lamflow": precision_here(size.lam.training.precision, size.model())},
    )


def main(*names: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        sizes = {name: measured(read_size(name), Path(folder)) for name in names or NUM_ROWS}
    report("relabelling", targets={"lamflow_over_baseline": TARGETS}, sizes=sizes)


if __name__ == "__main__":
    main(*arguments(__doc__, many="size"))
