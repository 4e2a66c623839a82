"""Where the time of a LAM's training step goes: the operators with the largest shares, by torch's profiler.

Time of an operator is its own, without that of those it calls; on a GPU that of its kernels. Prints one JSON object.
"""

import tempfile
from pathlib import Path

import torch
from bench.arms import THREADS, report, rounded
from bench.command import arguments
from bench.data import write_store
from bench.library_training import library_batches, library_training
from bench.sizes import Size, read_size
from torch.profiler import ProfilerActivity, profile

from lamflow.training.memory import keep_freed_memory
from lamflow.training.precision import default_device

STEPS = {"paper": 2, "procgen_laptop": 10}
NUM_ROWS = 2_000
SHOWN = 12


def shares(size: Size, store: Path) -> dict[str, float]:
    """Of the profiled time, operator by operator, largest first, and of all others together."""
    model = size.model().to(default_device())
    settings = size.lam.training.model_copy(update={"compile": "off"})
    training = library_training(model, library_batches(size, store), model.loss, settings, STEPS[size.name], "auto")
    training()
    on_gpu = torch.cuda.is_available()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as profiler:
        training()
    spent = {
        event.key: event.self_device_time_total if on_gpu else event.self_cpu_time_total
        for event in profiler.key_averages()
    }
    total = sum(spent.values())
    largest = sorted(spent, key=lambda name: -spent[name])[:SHOWN]
    found = {name: rounded(spent[name] / total) for name in largest}
    return {**found, "others": rounded(1 - sum(found.values()))}


def main() -> None:
    torch.set_num_threads(THREADS)
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "train.zarr"
        write_store(store, read_size("paper").spec, NUM_ROWS)
        report("step_profile", profiles={name: shares(read_size(name), store) for name in STEPS})


if __name__ == "__main__":
    arguments(__doc__)
    main()
