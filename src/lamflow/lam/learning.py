"""Training a latent action model on the episodes of one environment."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from lamflow.catalogue import EnvironmentSpec
from lamflow.config import LamSettings
from lamflow.data.store import EpisodeArrays
from lamflow.data.tensors import EpisodeTensors
from lamflow.data.windows import TransitionStream
from lamflow.lam.model import LatentActionModel
from lamflow.lam.validation import held_out_metrics
from lamflow.training.checkpoint import load_weights, read_model, seed_everything
from lamflow.training.loop import Watched, train
from lamflow.training.metrics import MetricsLog
from lamflow.training.precision import default_device
from lamflow.training.processes import share_of

PROBE_TRANSITIONS = 4096
"""Most transitions of the training episodes that a probe is fitted on."""
VALIDATION_TRANSITIONS = 4096
"""Most transitions of held-out episodes that a validation looks at."""


def fit_latent_action_model(
    *,
    spec: EnvironmentSpec,
    settings: LamSettings,
    train_arrays: EpisodeArrays,
    validation_arrays: EpisodeArrays,
    seed: int,
    metrics: MetricsLog,
    state_dir: Path | None,
    identity: str,
    title: str = "LAM",
) -> LatentActionModel:
    """Train on windows of ``train_arrays``; the true actions are read by the probes only, never by the model."""
    seed_everything(seed)
    model = LatentActionModel(settings=settings, spec=spec).to(default_device())
    data, held_out = EpisodeTensors(train_arrays), EpisodeTensors(validation_arrays)
    stream = TransitionStream(data.rows, settings.training.batch_size, seed)
    fit_rows, test_rows = data.sample(PROBE_TRANSITIONS), held_out.sample(VALIDATION_TRANSITIONS)

    def validate() -> dict[str, float]:
        return held_out_metrics(model, fit=data, fit_rows=fit_rows, test=held_out, test_rows=test_rows)

    def batch_at(step: int) -> Tensor:
        return data.windows(share_of(stream.batch(step)))

    train(
        module=model,
        batch_at=batch_at,
        loss=model.loss,
        settings=settings.training,
        metrics=metrics,
        validate=validate,
        watched=Watched("fdm/loss"),
        state_dir=state_dir,
        identity=identity,
        title=title,
    )
    return model


def load_latent_action_model(
    path: Path, *, spec: EnvironmentSpec, lam: str | None = None, seed: int | None = None
) -> LatentActionModel:
    """A trained model, on the learner's device; ValueError when the file is missing, damaged, or of another environment, LAM,
    seed or architecture."""
    tensors, metadata = read_model(path)
    for key, expected in (("kind", "lam"), ("env", spec.name), ("lam", lam), ("seed", seed)):
        if expected is not None and metadata.get(key) != expected:
            raise ValueError(
                f"{path}: found a model of {key} {metadata.get(key)!r}, expected {expected!r}: give the file of that {key}"
            )
    model = LatentActionModel(settings=LamSettings.model_validate(metadata["settings"]), spec=spec)
    load_weights(model, tensors, path)
    return model.to(default_device()).eval()
