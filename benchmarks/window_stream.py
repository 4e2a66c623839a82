"""The window stream: how fast it feeds, how much memory it takes, and what a sample costs as the data grows.

Claims: over a store ten times its window the stream gives at least 3 times the windows that the fastest trainer of its kind takes; such
a training holds no more than the window and 1.5 GB; stores of 10^4 to 10^7 frames cost the same a sample, within 10%, by the
stream alone and in a training step. Stores beyond one shard are hard links to it, so files come from the page cache. On a CPU,
costs are processor seconds, of all threads. Prints one JSON object.
"""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from bench.arms import Figures, MakeArm, Round, report, rounded, take_turns
from bench.command import arguments
from bench.data import write_latents, write_one_shard, write_repeated_store
from bench.library_training import GPU_STEPS, latent_cloning, library_batches, library_examples, library_training
from bench.machine import scaled, wait_for_device
from bench.sizes import Size, read_size

from lamflow.data.store import EpisodeStore
from lamflow.training.memory import keep_freed_memory
from lamflow.training.precision import default_device
from lamflow.training.settings import TrainingSettings

WINDOW_GIB, SHARDS = 0.25, 27
"""A shard is 0.094 GiB of frames."""
GROWTH_WINDOW_GIB, GROWTH_SHARDS = 0.0625, {"1e4": 1, "1e5": 12, "1e6": 122, "1e7": 1220}
"""The window is smaller than the smallest of the stores."""
DRAWN_BATCHES = 400
LAM_STEPS, CLONING_STEPS = scaled(10, GPU_STEPS), scaled(40, GPU_STEPS)
GROWTH_BATCHES, GROWTH_STEPS = 200, scaled(20, 500)
ROUNDS = 5
TRAINERS = ("lam", "latent_cloning")
TARGETS = {"stream_over_trainer": 3.0, "slack_gb": 1.5, "growth": 1.1}


def clock() -> float:
    """Seconds: of the processor, so that other work on the machine does not count, or of the wall where a GPU works."""
    if torch.cuda.is_available():
        wait_for_device()
        return time.perf_counter()
    return time.process_time()


def drawing(batch_at: Callable[[int], Any], batches: int, batch_size: int) -> Round:
    """Rounds of ``batches`` further batches."""
    drawn = 0

    def play() -> Figures:
        nonlocal drawn
        started, wall = clock(), time.perf_counter()
        for step in range(drawn, drawn + batches):
            batch_at(step)
        seconds = clock() - started
        drawn += batches
        samples = batches * batch_size
        return {"rate": samples / seconds, "wall_rate": samples / (time.perf_counter() - wall)}

    return play


def following(batch_at: Callable[[int], Any]) -> Callable[[int], Any]:
    """``batch_at`` for one training after another, of which each goes on where the last one ended."""
    base, last = 0, -1

    def go_on(step: int) -> Any:
        nonlocal base, last
        if step <= last:
            base += last + 1
        last = step
        return batch_at(base + step)

    return go_on


def clocked(training: Round) -> Round:
    """The training's rate by ``clock``."""

    def play() -> Figures:
        started = time.process_time()
        figures = training()
        seconds = figures["seconds"] if torch.cuda.is_available() else time.process_time() - started
        return {"rate": figures["samples"] / seconds}

    return play


def windows_arm(size: Size, store: Path, window_gib: float) -> Round:
    keep_freed_memory()
    settings = size.lam.training
    return drawing(library_batches(size, store, window_gib=window_gib), DRAWN_BATCHES, settings.batch_size)


def examples_arm(size: Size, store: Path, latents: Path) -> Round:
    keep_freed_memory()
    batch_at = library_examples(size, store, latents, window_gib=WINDOW_GIB)
    return drawing(batch_at, DRAWN_BATCHES, size.method.policy.training.batch_size)


def lam_arm(size: Size, store: Path, settings: TrainingSettings, window_gib: float, steps: int) -> Round:
    keep_freed_memory()
    model, batch_at = size.model().to(default_device()), library_batches(size, store, window_gib=window_gib)
    return clocked(library_training(model, following(batch_at), model.loss, settings, steps, "auto"))


def cloning_arm(size: Size, store: Path, latents: Path) -> Round:
    keep_freed_memory()
    network, settings = size.policy().to(default_device()), size.method.policy.training
    batch_at = following(library_examples(size, store, latents, window_gib=WINDOW_GIB))
    return clocked(library_training(network, batch_at, latent_cloning(network), settings, CLONING_STEPS, "auto"))


def growth_arm(size: Size, store: Path) -> Round:
    """Seconds a window of the stream alone, and of a training step."""
    keep_freed_memory()
    batch_at = library_batches(size, store, window_gib=GROWTH_WINDOW_GIB)
    draw = drawing(batch_at, GROWTH_BATCHES, size.lam.training.batch_size)
    settings = size.lam.training.model_copy(update={"compile": "off"})
    train = lam_arm(size, store, settings, GROWTH_WINDOW_GIB, GROWTH_STEPS)
    return lambda: {"stream": 1 / draw()["rate"], "step": 1 / train()["rate"]}


def fed(size: Size, folder: Path, shard: EpisodeStore) -> dict[str, Any]:
    """The stream beside trainers that feed on it, over a store ten times the window."""
    store, latents = folder / "ten_windows.zarr", folder / "latents.zarr"
    write_latents(latents, write_repeated_store(store, shard, SHARDS), size.latent_dim)
    arms: dict[str, MakeArm] = {
        "resident_windows": partial(windows_arm, size, shard.path, 2 * WINDOW_GIB),
        "windows": partial(windows_arm, size, store, WINDOW_GIB),
        "lam": partial(lam_arm, size, store, size.lam.training, WINDOW_GIB, LAM_STEPS),
        "examples": partial(examples_arm, size, store, latents),
        "latent_cloning": partial(cloning_arm, size, store, latents),
    }
    turns, window_gb = take_turns(arms, rounds=ROUNDS), WINDOW_GIB * 2**30 / 1e9
    return {
        "window_gb": rounded(window_gb),
        "frames_gb": rounded(EpisodeStore.open(store).num_rows * shard.rows("observation/frames").row_bytes / 1e9),
        "arms": {
            name: {"samples_per_second": rounded(turns.median(name, "rate")), **turns.peaks[name]} for name in arms
        },
        "slack_gb": rounded(max(turns.peaks[name]["peak_host_gb"] for name in TRAINERS) - window_gb),
        "wall_samples_per_second": {
            name: rounded(turns.median(name, "wall_rate")) for name in ("resident_windows", "windows", "examples")
        },
        "ratios": {
            "windows_over_lam": rounded(turns.ratio("windows", "lam", "rate")),
            "examples_over_latent_cloning": rounded(turns.ratio("examples", "latent_cloning", "rate")),
            "windows_over_resident_windows": rounded(turns.ratio("windows", "resident_windows", "rate")),
        },
    }


def growth(size: Size, folder: Path, shard: EpisodeStore) -> dict[str, Any]:
    """Costs a sample over those of the smallest store."""
    arms: dict[str, MakeArm] = {}
    for name, shards in GROWTH_SHARDS.items():
        write_repeated_store(folder / f"{name}.zarr", shard, shards)
        arms[name] = partial(growth_arm, size, folder / f"{name}.zarr")
    turns = take_turns(arms, rounds=ROUNDS)
    smallest = next(iter(arms))
    return {
        "window_gb": rounded(GROWTH_WINDOW_GIB * 2**30 / 1e9),
        "microseconds": {
            part: {name: rounded(1e6 * turns.median(name, part)) for name in arms} for part in ("stream", "step")
        },
        "ratios": {
            part: {name: rounded(turns.ratio(name, smallest, part)) for name in arms} for part in ("stream", "step")
        },
        "peak_host_gb": {name: turns.peaks[name]["peak_host_gb"] for name in arms},
    }


def main() -> None:
    size = read_size("procgen_laptop")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shard = write_one_shard(folder / "shard.zarr", size.spec)
        report(
            "window_stream",
            targets=TARGETS,
            size=size.name,
            fed=fed(size, folder, shard),
            growth=growth(size, folder, shard),
        )


if __name__ == "__main__":
    arguments(__doc__)
    main()
