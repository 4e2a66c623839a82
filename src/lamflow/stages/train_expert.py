"""Stop 1: the demonstrator of an environment."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lamflow.envs.spec import EnvironmentSpec
from lamflow.provenance import record_provenance, settings_digest
from lamflow.rl.demonstrations import demonstrator_of
from lamflow.stages.code import stage_code
from lamflow.training.checkpoint import remove_checkpoints
from lamflow.training.metrics import MetricsLog
from lamflow.training.settings import LoggingSettings
from lamflow.training.tracking import TrackedRun


def train_expert(
    *,
    environment: Mapping[str, Any],
    settings: Mapping[str, Any],
    seed: int,
    output: Path | str,
    state_dir: Path | str | None = None,
    shipped: Path | str | None = None,
    logging: Mapping[str, Any] | None = None,
    experiment_dir: Path | str | None = None,
) -> None:
    """Train the PPO expert of an environment on train levels and write its weights to ``output`` (safetensors).

    ``settings``: ``ExpertSettings``, ``PixelExpertSettings`` for Procgen and other pixels, or ``VectorExpertSettings`` for vectors of
    other environments. ``metrics.csv`` beside the output has
    return, losses and entropy by training step (environment steps for XLand, optimiser steps for Procgen; see
    docs/metrics.md). A planner needs no training: its file has a name and no weights, and its metrics file only the header.
    Procgen's training goes on from the checkpoint in ``state_dir`` if one of the same settings, seed and code was
    interrupted; with ``shipped``, an expert file, that expert is checked and taken over instead.
    With ``logging.wandb`` a training is also a run, whose files lie in ``experiment_dir`` (the output's folder if None).
    """
    started = time.monotonic()
    spec = EnvironmentSpec.from_facts(environment)
    code = stage_code(__name__, spec)
    demonstrator, given = demonstrator_of(spec), Path(shipped) if shipped else None
    typed = demonstrator.settings_for(spec).model_validate(settings)
    identity = settings_digest([typed.model_dump(mode="json"), seed, code.digest])
    run = TrackedRun(
        experiment_dir=Path(experiment_dir or Path(output).parent),
        kind="expert",
        name=f"experts/{spec.name}",
        identity=identity,
        code=code,
        settings=typed.model_dump(mode="json"),
        env=spec.name,
        seed=seed,
    )
    metrics = MetricsLog(
        LoggingSettings.model_validate(logging or {}), run if demonstrator.is_trained(spec, given) else None
    )
    state = Path(state_dir) if state_dir else None
    demonstrator.make_expert(spec, typed, seed, metrics, Path(output), state, identity, given)
    metrics.finish()
    metrics.write(Path(output).with_name("metrics.csv"))
    record_provenance(
        Path(output),
        code=code,
        settings=typed.model_dump(mode="json"),
        inputs={"shipped": given} if given else {},
        seed=seed,
        wall_seconds=time.monotonic() - started,
        precision=[metrics.precision],
    )
    if state:
        remove_checkpoints(state)
