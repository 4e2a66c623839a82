"""What a job of the workflow asks for: memory, a time limit and GPUs, from its work and the measured rates.

Memory and time are asked for with a margin, and grow with every further attempt. Nothing here knows Snakemake.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from lamflow.runs.rates import Device
from lamflow.runs.scope import Scope, Work
from lamflow.runs.work import STAGES, work_of

SNAKEMAKE_MB = 520
"""Snakemake itself inside a Slurm job: 260 MB in the batch step and as much in the step that runs the stage."""
STAGE_MB = {
    "train_expert": 800,
    "train_pixel_expert": 800,
    "measure_expert": 800,
    "collect_episodes": 800,
    "import_episodes": 900,
    "train_lam": 900,
    "relabel_episodes": 1200,
    "train_action_decoders": 900,
    "train_policy": 900,
    "train_evaluated_policy": 1100,
    "evaluate_agents": 900,
    "score_actions": 900,
    "plot_film_strip": 900,
    "plot_episode_film": 1300,
    "plot_latent_space": 900,
    "plot_latent_umap": 1000,
}
"""Megabytes of a stage's process beside what scales: libraries, read-ahead, buffers; from the largest runs in docs/resources.md."""
OTHER_STAGE_MB = 400
CUDA_MB = 3000
"""ASSUME: host memory of a process that uses CUDA, beside what it takes without. Never measured."""
RECORDING_MB = 1700
"""Frames of Procgen episodes that have not ended, see ``lamflow.rl.pixel_rollouts.ROLLOUT_BYTES``."""
BYTES_A_PARAMETER = 16
"""Of a network in training: weight, gradient and Adam's two moments, float32."""
BYTES_A_MEMBER = 8
"""Of a network's parameter among those of all label counts and draws: as read or to be written, and in the network."""
BYTES_A_MAC = 20e-3
"""Activations of a training step in float32 for each multiply-accumulate of the batch's forward pass: LAPO's sizes take 13 (bf16) to
21 bytes a thousand."""
BYTES_A_ROW = 64
"""Actions, rewards, marks and indices of one row of a store."""
MEMORY_MARGIN, TIME_MARGIN = 1.3, 3.0
MEMORY_GROWTH, TIME_GROWTH = 1.5, 2.0
"""From one attempt to the next."""
MOST_GROWTHS = 20
LEAST_MINUTES = 10
DOWNLOAD_MINUTES = 1440
RECORDING = frozenset({"collect_episodes", "measure_expert"})
DOWNLOADS = frozenset({"download_lapo", "download_dgrl"})


def rules_with_costs(scope: Scope) -> frozenset[str]:
    """The rules whose jobs do not cost what those of any other rule do."""
    return frozenset(STAGES).union(STAGE_MB, RECORDING, DOWNLOADS, scope.rates.start_up)


def foreseen_work(scope: Scope, rule: str, wildcards: Mapping[str, str]) -> Work:
    """The work of a job; none, and a line that says so, where the estimate did not foresee such a job: work goes on without it."""
    try:
        return work_of(scope, rule, wildcards)
    except Exception as error:
        _say_once(
            f"lamflow cannot estimate the jobs of {rule} ({type(error).__name__}: {error}); they ask for the least time and memory"
        )
        return Work()


@cache
def _say_once(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def expected_seconds(
    scope: Scope, rule: str, wildcards: Mapping[str, str], *, device: Device, processors: int
) -> float:
    """What a job is expected to take on so many GPUs or cores; ASSUME: they share its work evenly."""
    seconds = scope.rates.start_up_seconds(rule)
    for kind, samples, macs in foreseen_work(scope, rule, wildcards).tasks:
        frames = scope.frames_of(scope.experiment.environment(wildcards["env"]))
        seconds += samples / scope.rates.per_second(kind, frames, device, macs) / processors
    return seconds


def time_limit_minutes(
    scope: Scope,
    rule: str,
    wildcards: Mapping[str, str],
    *,
    device: Device,
    processors: int,
    attempt: int,
    longest: int | None = None,
) -> int:
    """The limit to ask for: thrice the expected time, at least ten minutes, twice as long with every further attempt, but never
    more than the ``longest`` that the site allows: a training that needs more resumes."""
    minutes = TIME_MARGIN / 60 * expected_seconds(scope, rule, wildcards, device=device, processors=processors)
    least = DOWNLOAD_MINUTES if rule in DOWNLOADS else LEAST_MINUTES
    asked = math.ceil(max(least, minutes)) * round(TIME_GROWTH ** min(attempt - 1, MOST_GROWTHS))
    return asked if longest is None else min(asked, longest)


def memory_mb(scope: Scope, rule: str, wildcards: Mapping[str, str], *, device: Device, attempt: int) -> int:
    """The memory to ask for, in steps of 100 MB, half as much again with every further attempt."""
    work = foreseen_work(scope, rule, wildcards)
    scaling = (
        work.networks * BYTES_A_PARAMETER
        + work.members * BYTES_A_MEMBER
        + work.batch_macs * BYTES_A_MAC
        + work.window_bytes
        + work.rows * BYTES_A_ROW
    ) / 1e6
    if rule in RECORDING and scope.experiment.environment(wildcards["env"]).view == "pixels":
        scaling += RECORDING_MB
    stage = STAGE_MB.get(rule, OTHER_STAGE_MB) + (CUDA_MB if device == "gpu" else 0)
    return 100 * math.ceil(
        (SNAKEMAKE_MB + stage + MEMORY_MARGIN * scaling) * MEMORY_GROWTH ** min(attempt - 1, MOST_GROWTHS) / 100
    )


def gpus_in(resources: Mapping[str, object]) -> int:
    """GPUs that a job's resources ask for, as ``gpu`` or as ``gres`` ('gpu:2', 'gpu:4090:2'; the last field is the number)."""
    asked = [part.strip().split(":") for part in str(resources.get("gres") or "").strip("'\"").split(",")]
    counts = [int(fields[-1]) if fields[-1].isdigit() else 1 for fields in asked if fields[0] == "gpu"]
    gpu = str(resources.get("gpu") or 0).rpartition(":")[2]
    return (int(gpu) if gpu.isdigit() else 1) or sum(counts)


def machine_has_gpu() -> bool:
    """Whether this machine has NVIDIA's driver with a GPU, found without torch."""
    return Path("/dev/nvidiactl").exists()
