"""Stop 1: the demonstrator of an environment."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lamflow.catalogue import EnvironmentSpec, environment_spec
from lamflow.config import ExpertSettings, LoggingSettings, PixelExpertSettings
from lamflow.provenance import code_digest, record_provenance, settings_digest
from lamflow.training.checkpoint import remove_checkpoints
from lamflow.training.metrics import MetricsLog
from lamflow.training.tracking import TrackedRun


def train_expert(
    *,
    env: str,
    settings: Mapping[str, Any],
    seed: int,
    output: Path | str,
    state_dir: Path | str | None = None,
    shipped: Path | str | None = None,
    logging: Mapping[str, Any] | None = None,
    experiment_dir: Path | str | None = None,
) -> None:
    """Train the PPO expert of ``env`` on train levels and write its weights to ``output`` (safetensors).

    ``settings``: ``lamflow.config.ExpertSettings``, or ``PixelExpertSettings`` for Procgen. ``metrics.csv`` beside the output has
    return, losses and entropy by training step (environment steps for XLand, optimiser steps for Procgen; see
    docs/metrics.md). A planner needs no training: its file has a name and no weights, and its metrics file only the header.
    Procgen's training goes on from the checkpoint in ``state_dir`` if one of the same settings, seed and code was
    interrupted; with ``shipped``, an expert file, that expert is checked and taken over instead.
    With ``logging.wandb`` a training is also a run, whose files lie in ``experiment_dir`` (the output's folder if None).
    """
    started = time.monotonic()
    spec = environment_spec(env)
    procgen = spec.family == "procgen"
    typed: Any = (PixelExpertSettings if procgen else ExpertSettings).model_validate(settings)
    identity = settings_digest([typed.model_dump(mode="json"), seed, code_digest(__name__)])
    is_trained = shipped is None if procgen else spec.demonstrator == "ppo"
    run = TrackedRun(
        experiment_dir=Path(experiment_dir or Path(output).parent),
        kind="expert",
        name=f"experts/{env}",
        identity=identity,
        stage=__name__,
        settings=typed.model_dump(mode="json"),
        env=env,
        seed=seed,
    )
    metrics = MetricsLog(LoggingSettings.model_validate(logging or {}), run if is_trained else None)
    if procgen:
        _procgen_expert(spec, typed, seed, metrics, Path(output), state_dir, identity, shipped)
    else:
        _xland_expert(spec, typed, seed, metrics, Path(output), state_dir, identity)
    metrics.finish()
    metrics.write(Path(output).with_name("metrics.csv"))
    record_provenance(
        Path(output),
        stage=__name__,
        settings=typed.model_dump(mode="json"),
        inputs={"shipped": Path(shipped)} if shipped else {},
        seed=seed,
        wall_seconds=time.monotonic() - started,
        precision=[metrics.precision],
    )
    if state_dir:
        remove_checkpoints(Path(state_dir))


def _procgen_expert(
    spec: EnvironmentSpec,
    settings: PixelExpertSettings,
    seed: int,
    metrics: MetricsLog,
    output: Path,
    state_dir: Path | str | None,
    identity: str,
    shipped: Path | str | None,
) -> None:
    """A trained expert, or the shipped one, whose settings and seed stay what they were."""
    from lamflow.rl.pixel_experts import read_pixel_expert, save_pixel_expert, train_pixel_expert

    if shipped is not None:
        network, metadata = read_pixel_expert(Path(shipped), spec)
        save_pixel_expert(output, network, PixelExpertSettings.model_validate(metadata["settings"]), metadata["seed"])
        return
    network = train_pixel_expert(
        env=spec.name,
        settings=settings,
        seed=seed,
        metrics=metrics,
        state_dir=Path(state_dir) if state_dir else None,
        identity=identity,
    )
    save_pixel_expert(output, network, settings, seed)


def _xland_expert(
    spec: EnvironmentSpec,
    settings: ExpertSettings,
    seed: int,
    metrics: MetricsLog,
    output: Path,
    state_dir: Path | str | None,
    identity: str,
) -> None:
    """PPO weights, or a planner's file."""
    from lamflow.rl.demonstrators import save_expert

    params: Mapping[str, Any] = {}
    if spec.demonstrator == "ppo":
        from lamflow.rl.xland_experts import expert_params, train_xland_expert

        network = train_xland_expert(
            spec=spec,
            settings=settings,
            seed=seed,
            metrics=metrics,
            state_dir=Path(state_dir) if state_dir else None,
            identity=identity,
        )
        params = expert_params(network)
    save_expert(output, spec.name, params, {"seed": seed})
