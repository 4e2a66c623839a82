"""Stop 3: train a latent action model."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from lamflow.data.label_budgets import LabelBudget
from lamflow.data.labels import draw_labels
from lamflow.data.store import EpisodeStore
from lamflow.data.tensors import EpisodeTensors
from lamflow.envs.spec import EnvironmentSpec
from lamflow.lam.learning import fit_latent_action_model
from lamflow.lam.settings import SupervisionSettings, lam_settings
from lamflow.lam.verdicts import verdict_of
from lamflow.provenance import record_provenance, settings_digest
from lamflow.stages.code import stage_code
from lamflow.training.checkpoint import remove_checkpoints, save_model
from lamflow.training.metrics import MetricsLog
from lamflow.training.processes import is_main
from lamflow.training.settings import LoggingSettings
from lamflow.training.tracking import TrackedRun


def train_lam(
    *,
    environment: Mapping[str, Any],
    lam: str,
    settings: Mapping[str, Any],
    logging: Mapping[str, Any],
    seed: int,
    train: Path | str,
    validation: Path | str,
    output: Path | str,
    metrics: Path | str,
    state_dir: Path | str,
    experiment_dir: Path | str | None = None,
) -> None:
    """Train the LAM ``lam`` of an environment on the store ``train``, resuming from ``state_dir`` if a run of the same settings,
    seed, data and code was interrupted. Writes weights (``output``) and ``metrics`` (CSV: step, split, name, value). The last line
    that it prints is the verdict on the model.

    With ``logging.wandb`` the run's files lie in ``experiment_dir`` (the output's folder if None), after which it is named.
    With supervision it also sees the labels that a decoder of the same count, draw and seed gets.
    """
    started = time.monotonic()
    spec = EnvironmentSpec.from_facts(environment)
    env = spec.name
    typed = lam_settings(settings)
    train_store, validation_store = EpisodeStore.open(train, env=env), EpisodeStore.open(validation, env=env)
    for store in (train_store, validation_store):
        store.check_transitions()
    identity = settings_digest(
        [
            typed.model_dump(mode="json"),
            seed,
            train_store.digest,
            validation_store.digest,
            stage_code(__name__, settings=typed).digest,
        ]
    )
    title = f"{lam} on {env}, seed {seed}"
    log = MetricsLog(
        LoggingSettings.model_validate(logging),
        TrackedRun(
            experiment_dir=Path(experiment_dir or Path(output).parent),
            kind="lam",
            name=f"lam/{env}/{lam}/seed{seed}",
            identity=identity,
            code=stage_code(__name__, settings=typed),
            settings=typed.model_dump(mode="json"),
            inputs={"train": train_store.digest, "validation": validation_store.digest},
            env=env,
            lam=lam,
            seed=seed,
        ),
    )
    model = fit_latent_action_model(
        spec=spec,
        settings=typed,
        data=EpisodeTensors.open(train_store, window_gib=typed.training.window_gib),
        held_out=EpisodeTensors.open(validation_store, window_gib=0),
        seed=seed,
        metrics=log,
        state_dir=Path(state_dir),
        identity=identity,
        labelled_rows=_labelled_rows(train_store, typed.supervision, seed),
        title=title,
    )
    log.finish()
    if not is_main():
        return
    log.write(Path(metrics))
    metadata: dict[str, Any] = {
        "kind": "lam",
        "env": env,
        "lam": lam,
        "seed": seed,
        "settings": typed.model_dump(mode="json"),
        "environment": spec.facts(),
    }
    save_model(Path(output), model.state_dict(), metadata)
    record_provenance(
        Path(output),
        code=stage_code(__name__, settings=typed),
        settings=metadata["settings"],
        inputs={"train": Path(train), "validation": Path(validation)},
        seed=seed,
        wall_seconds=time.monotonic() - started,
        precision=[log.precision],
    )
    remove_checkpoints(Path(state_dir))
    print(f"{title}: {verdict_of(log.latest('validation'))}")


def _labelled_rows(store: EpisodeStore, supervision: SupervisionSettings | None, seed: int) -> Tensor | None:
    if supervision is None:
        return None
    return draw_labels(
        store.load(frames=False),
        LabelBudget(supervision.labels),
        draw=supervision.label_draw,
        seed=seed,
        store=store.path,
    )
