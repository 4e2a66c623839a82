"""Windows a second that the sampler gathers from episodes in memory, beside what LAM training takes.

Claim: sampling is no bottleneck; a training step waits for its windows a small share of its time. Prints one JSON object.
"""

import json
import time
from pathlib import Path

import numpy as np
import torch

from lamflow.catalogue import AGENT_TILE, environment_spec
from lamflow.config import read_experiment
from lamflow.data.windows import TransitionStream, gather_windows
from lamflow.lam.model import LatentActionModel
from lamflow.training.precision import autocast

CONFIG = Path(__file__).parents[1] / "config" / "config.yaml"
EPISODE_LENGTH = 20
SAMPLED_STEPS, TRAINED_STEPS = 500, 40


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    experiment = read_experiment(CONFIG)
    env = experiment.envs[0]
    spec, settings = environment_spec(env), experiment.lams[experiment.lams_of(env)[0]]
    num_rows = experiment.collection.train_episodes * (EPISODE_LENGTH + 1)
    generator = np.random.default_rng(0)
    made_up = generator.integers(0, (AGENT_TILE, spec.category_sizes[1]), (num_rows, *spec.frame_shape)).astype(
        np.uint8
    )
    if spec.view == "full":
        made_up[:, 1, 1, 0] = AGENT_TILE
    frames, rows = torch.from_numpy(made_up), torch.arange(num_rows)
    starts = rows - rows % (EPISODE_LENGTH + 1)
    batch_size = settings.training.batch_size
    stream = TransitionStream(rows[rows % (EPISODE_LENGTH + 1) != EPISODE_LENGTH], batch_size, seed=0)

    def windows_at(step: int) -> torch.Tensor:
        return torch.stack(gather_windows(frames, stream.batch(step), starts), dim=1)

    windows_at(0)
    started = time.perf_counter()
    for step in range(SAMPLED_STEPS):
        windows_at(step)
    sampled = SAMPLED_STEPS * batch_size / (time.perf_counter() - started)

    model, windows = LatentActionModel(settings=settings, spec=spec), windows_at(0)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    for step in range(-5, TRAINED_STEPS):
        if step == 0:
            started = time.perf_counter()
        with autocast(settings.training.precision, torch.device("cpu")):
            loss = model.loss(windows)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
    consumed = TRAINED_STEPS * batch_size / (time.perf_counter() - started)
    print(
        json.dumps(
            {
                "benchmark": "window_sampling",
                "env": env,
                "threads": 1,
                "rows": num_rows,
                "windows_per_second": round(sampled),
                "lam_windows_per_second": round(consumed),
                "sampling_over_lam": round(sampled / consumed, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
