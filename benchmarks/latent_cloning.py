"""Samples a second of latent behaviour cloning (LAPO's stage 2), beside its plain form.

Claim: by default settings, at LAPO's sizes, at least 4 times the plain form's rate on a CPU with AMX and 2.5 times on one with AVX512_BF16
alone. The plain form has its latents in memory, as the library has; LAPO itself runs its IDM again on every batch. The arm of the
other precision says whether ``auto`` was right. Prints one JSON object; ``python
benchmarks/latent_cloning.py [size ...]`` measures some sizes only.
"""

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from bench.arms import Round, compared, report
from bench.command import arguments
from bench.data import write_latents, write_store
from bench.library_training import GPU_STEPS, latent_cloning, library_examples, library_training
from bench.machine import PLAIN, not_taken, precision_here, scaled
from bench.plain_training import PLAIN_GPU_STEPS, LabelledFrames, normalised, plain_training
from bench.sizes import Size, read_size
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from lamflow.data.latents import LatentStore
from lamflow.data.store import EpisodeStore
from lamflow.training.memory import keep_freed_memory
from lamflow.training.precision import PrecisionSetting, Processor, default_device

STEPS = {"paper": 3, "procgen_laptop": 20}
"""Of a round on a CPU: seconds of the plain form."""
NUM_ROWS = 8_000
ROUNDS = {"paper": 3, "procgen_laptop": 5}
COUNTED_BATCH = 4
TARGETS: dict[Processor, float] = {"CPU with AMX": 4.0, "CPU with AVX512_BF16": 2.5}


def plain_arm(size: Size, store: Path, latents: Path) -> Round:
    targets = torch.from_numpy(LatentStore.open(latents).load().latents)
    dataset, policy = LabelledFrames(EpisodeStore.open(store), targets), size.plain_policy()

    def loss(batch: list[torch.Tensor]) -> torch.Tensor:
        frames, latents = batch
        return functional.mse_loss(policy(normalised(frames)), latents)

    steps = scaled(STEPS[size.name], PLAIN_GPU_STEPS)
    return plain_training(policy, dataset, loss, size.method.policy.training, steps)


def library_arm(size: Size, store: Path, latents: Path, precision: PrecisionSetting) -> Round:
    keep_freed_memory()
    settings, network = size.method.policy.training, size.policy().to(default_device())

    batch_at, steps = library_examples(size, store, latents), scaled(STEPS[size.name], GPU_STEPS)
    return library_training(network, batch_at, latent_cloning(network), settings, steps, precision)


def gflop_a_sample(size: Size) -> float:
    """Forward and backward of the plain form."""
    height, width, channels = size.spec.frame_shape
    with FlopCounterMode(display=False) as counter:
        size.plain_policy()(torch.zeros(COUNTED_BATCH, channels, height, width)).sum().backward()
    return counter.get_total_flops() / COUNTED_BATCH / 1e9


def measured(size: Size, folder: Path) -> dict[str, Any]:
    store, latents = folder / f"{size.name}.zarr", folder / f"{size.name}_latents.zarr"
    write_latents(latents, write_store(store, size.spec, NUM_ROWS), size.latent_dim)
    taken = precision_here("auto", size.policy())
    other = not_taken(taken)
    return compared(
        {
            "baseline": partial(plain_arm, size, store, latents),
            "lamflow": partial(library_arm, size, store, latents, "auto"),
            f"lamflow_{other.name}": partial(library_arm, size, store, latents, other.name),
        },
        rounds=ROUNDS[size.name],
        gflop_a_sample=gflop_a_sample(size),
        precisions={"baseline": PLAIN, "lamflow": taken, f"lamflow_{other.name}": other},
    )


def main(*names: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        sizes = {name: measured(read_size(name), Path(folder)) for name in names or STEPS}
    report("latent_cloning", targets={"lamflow_over_baseline": TARGETS}, sizes=sizes)


if __name__ == "__main__":
    main(*arguments(__doc__, many="size"))
