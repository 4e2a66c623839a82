"""Samples a second of LAM training at the quickstart's sizes, in float32 and in bf16, one thread as in a workflow's job.

Claim: `precision: auto` takes bf16 where it gains. Prints one JSON object; the ratio is bf16's rate over float32's.
"""

import json
import time
from pathlib import Path

import numpy as np
import torch

from lamflow.catalogue import AGENT_TILE, EnvironmentSpec, environment_spec
from lamflow.config import LamSettings, TrainingSettings, read_experiment
from lamflow.data.windows import TransitionStream, gather_windows
from lamflow.lam.model import LatentActionModel
from lamflow.training.loop import Loss, train
from lamflow.training.metrics import MetricsLog
from lamflow.training.precision import bf16_gains

CONFIG = Path(__file__).parents[1] / "config" / "config.yaml"
NUM_ROWS = 20_000
WARM_UP_STEPS, STEPS, ROUNDS = 5, 30, 3
"""The fastest of the rounds counts, in which the precisions take turns: other work on the machine only ever slows one down."""


def made_up_frames(spec: EnvironmentSpec) -> torch.Tensor:
    """uint8 [N, H, W, 2]: random categories with one agent each; speed does not depend on what they mean."""
    generator = np.random.default_rng(0)
    frames = generator.integers(0, (AGENT_TILE, spec.category_sizes[1]), (NUM_ROWS, *spec.frame_shape)).astype(np.uint8)
    if spec.view == "full":
        frames[:, 1, 1, 0] = AGENT_TILE + generator.integers(0, 4, NUM_ROWS)
    return torch.from_numpy(frames)


def samples_per_second(settings: LamSettings, spec: EnvironmentSpec, precision: str) -> float:
    """The rate of ``STEPS`` steps of the training loop, without validation, after a warm-up."""
    torch.manual_seed(0)
    model, frames = LatentActionModel(settings=settings, spec=spec), made_up_frames(spec)
    starts = torch.zeros(NUM_ROWS, dtype=torch.long)
    stream = TransitionStream(torch.arange(NUM_ROWS - 1), settings.training.batch_size, seed=0)

    def loss_at(step: int) -> Loss:
        return model.loss(torch.stack(gather_windows(frames, stream.batch(step), starts), dim=1))

    seconds = 0.0
    for steps in (WARM_UP_STEPS, STEPS):
        changed = settings.training.model_dump() | {"steps": steps, "precision": precision}
        started = time.perf_counter()
        train(
            module=model,
            loss_at=loss_at,
            settings=TrainingSettings.model_validate(changed),
            metrics=MetricsLog(),
            title="",
        )
        seconds = time.perf_counter() - started
    return STEPS * settings.training.batch_size / seconds


def main() -> None:
    torch.set_num_threads(1)
    experiment = read_experiment(CONFIG)
    env = experiment.envs[0]
    rates = {}
    for name in experiment.lams_of(env):
        rounds = [
            [samples_per_second(experiment.lams[name], environment_spec(env), kind) for kind in ("float32", "bf16")]
            for _ in range(ROUNDS)
        ]
        float32, bf16 = (max(rate) for rate in zip(*rounds, strict=True))
        rates[name] = {
            "float32_samples_per_second": round(float32),
            "bf16_samples_per_second": round(bf16),
            "bf16_over_float32": round(bf16 / float32, 2),
        }
    auto = "bf16" if bf16_gains(torch.device("cpu")) else "float32"
    print(json.dumps({"benchmark": "lam_training", "env": env, "threads": 1, "auto_precision": auto, "lams": rates}))


if __name__ == "__main__":
    main()
