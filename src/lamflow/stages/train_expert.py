"""Stop 1: the demonstrator of an environment."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lamflow.catalogue import environment_spec
from lamflow.config import ExpertSettings
from lamflow.provenance import record_provenance
from lamflow.rl.demonstrators import save_expert
from lamflow.training.metrics import MetricsLog

TRAINING_LEVELS = 4096
"""Levels of the train split that the expert practises on."""


def train_expert(*, env: str, settings: Mapping[str, Any], seed: int, output: Path | str) -> None:
    """Train the PPO expert of ``env`` on train levels and write its weights to ``output`` (safetensors).

    ``settings``: ``lamflow.config.ExpertSettings``. ``metrics.csv`` beside the output has return, success, value loss, policy
    loss and entropy at each rollout's environment step. A planner needs no training: its file has a name and no weights,
    and its metrics file only the header.
    """
    started = time.monotonic()
    typed = ExpertSettings.model_validate(settings)
    metrics = MetricsLog()
    params: Mapping[str, Any] = {}
    if environment_spec(env).demonstrator == "ppo":
        params = _train(env, typed, seed, metrics)
    metrics.write(Path(output).with_name("metrics.csv"))
    save_expert(Path(output), env, params, {"seed": seed})
    record_provenance(
        Path(output),
        stage=__name__,
        settings=typed.model_dump(mode="json"),
        inputs={},
        seed=seed,
        wall_seconds=time.monotonic() - started,
    )


def _train(env: str, settings: ExpertSettings, seed: int, metrics: MetricsLog) -> Mapping[str, Any]:
    """PPO weights; fills ``metrics``. Says so when the target return was not reached."""
    from lamflow.envs.levels import draw_levels
    from lamflow.envs.xland import make_simulator
    from lamflow.rl.xland_ppo import train_ppo

    params, history = train_ppo(make_simulator(env), draw_levels(env, "train", TRAINING_LEVELS, seed), settings, seed)
    steps_a_rollout = settings.num_envs * settings.num_steps
    for rollout in range(len(history["return"])):
        metrics.log(
            (rollout + 1) * steps_a_rollout, "train", {name: values[rollout] for name, values in history.items()}
        )
    return params
