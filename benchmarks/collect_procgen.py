"""Frames a second of collecting Procgen episodes into a store, beside the expert network's own speed.

Claim: collection runs at no less than half the speed of the policy's inference. ``python benchmarks/collect_procgen.py [environment
[threads [expert file]]]``: the network has one thread, the simulator ``threads`` of its own (default 0: it uses the network's, and CPU
seconds count, so that other work on the machine does not; else wall seconds do). Without a file, an untrained expert of the
default network acts. Prints one JSON object.
"""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from bench.command import arguments

from lamflow.data.store import EpisodeStore, EpisodeWriter
from lamflow.envs.levels import draw_levels
from lamflow.envs.presets import preset
from lamflow.envs.procgen import ProcgenVectorEnvironment
from lamflow.envs.spec import EnvironmentSpec
from lamflow.rl.actor_critic import PixelActorCritic
from lamflow.rl.demonstrator_settings import PixelExpertSettings
from lamflow.rl.pixel_experts import PixelExpert, load_pixel_expert
from lamflow.rl.pixel_rollouts import ROLLOUT_BATCH, play_episodes
from lamflow.training.memory import keep_freed_memory

EPISODES = 1024
SLOTS = ROLLOUT_BATCH // 2


def load_network(spec: EnvironmentSpec, path: str | None) -> PixelActorCritic:
    if path is not None:
        return load_pixel_expert(Path(path), spec)
    torch.manual_seed(0)
    settings = PixelExpertSettings().network
    network = PixelActorCritic(settings=settings, spec=spec, mask_duplicate_actions=False)
    return network.to(memory_format=torch.channels_last).eval()


def inference_speed(expert: PixelExpert, frames: np.ndarray, clock: Callable[[], float]) -> float:
    """Frames a second of the expert alone."""
    expert.act(frames)  # allocates
    started, calls = clock(), 0
    while (spent := clock() - started) < 2:
        expert.act(frames)
        calls += 1
    return calls * len(frames) / spent


def main(env: str = "procgen-starpilot", threads: str = "0", expert_file: str | None = None) -> None:
    clock = time.perf_counter if int(threads) else time.process_time
    keep_freed_memory()
    torch.set_num_threads(1)
    spec = preset(env)
    expert = PixelExpert(load_network(spec, expert_file), epsilon=0.1, seed=0)
    environment = ProcgenVectorEnvironment(spec, SLOTS)
    frames = environment.reset(draw_levels(preset(env), "train", SLOTS, seed=1)).parts["frames"]
    before = inference_speed(expert, frames, clock)
    levels = draw_levels(preset(env), "train", EPISODES, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        path, attributes = Path(folder) / "train.zarr", {"source": "benchmark", "licence": "none"}
        started = clock()
        with EpisodeWriter(path, spec=spec, split="train", attributes=attributes) as writer:
            for episode in play_episodes(expert, levels, num_threads=int(threads)):
                writer.append(episode)
        spent = clock() - started
        rows = EpisodeStore.open(path).num_rows
    inference = (before + inference_speed(expert, frames, clock)) / 2
    print(
        json.dumps(
            {
                "benchmark": "collect_procgen",
                "env": env,
                "expert": expert_file or "untrained",
                "network_threads": 1,
                "simulator_threads": int(threads),
                "batch": SLOTS,
                "episodes": EPISODES,
                "inference_frames_per_second": round(inference),
                "collected_frames": rows,
                "collected_frames_per_second": round(rows / spent),
                "ratio": round(rows / spent / inference, 2),
            }
        )
    )


if __name__ == "__main__":
    main(*arguments(__doc__, "environment", "threads", "expert"))
