"""Training a latent action model on the episodes of one environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from lamflow.data.held_windows import HeldWindows
from lamflow.data.tensors import EpisodeTensors
from lamflow.envs.spec import EnvironmentSpec
from lamflow.lam.model import LatentActionModel
from lamflow.lam.settings import LamSettings, lam_settings
from lamflow.lam.supervision import LabelledTransitions, SupervisedLam
from lamflow.lam.validation import held_out_metrics
from lamflow.networks.vectors import change_of, moments_read_by, standardise_inputs
from lamflow.training.checkpoint import load_weights, read_model, seed_everything
from lamflow.training.loop import Watched, train
from lamflow.training.metrics import MetricsLog
from lamflow.training.precision import default_device

PROBE_TRANSITIONS = 4096
"""Most transitions of the training episodes that a probe is fitted on."""
VALIDATION_TRANSITIONS = 4096
"""Most transitions of held-out episodes that a validation looks at."""


def fit_latent_action_model(
    *,
    spec: EnvironmentSpec,
    settings: LamSettings,
    data: EpisodeTensors,
    held_out: EpisodeTensors,
    seed: int,
    metrics: MetricsLog,
    state_dir: Path | None,
    identity: str,
    labelled_rows: Tensor | None = None,
    title: str = "LAM",
) -> LatentActionModel:
    """Train on windows of ``data``, both splits being on the default device.

    The true actions, where they are known, are read by the probes only, which give nothing back; with supervision, the training also
    reads those of ``labelled_rows`` int64, which is given then and only then.
    """
    assert (labelled_rows is None) == (settings.supervision is None)
    seed_everything(seed)
    model: LatentActionModel = settings.build(spec=spec).to(default_device())
    if names := moments_read_by(model):
        standardise_inputs(model, data.moments(changes=change_of(spec.main) in names))
    fit = data.part(model.window, data.some_of(data.labelled_rows, PROBE_TRANSITIONS))
    test = held_out.part(model.window, held_out.sample(VALIDATION_TRANSITIONS))
    judged = _judged(model, held_out, test)
    supervised, labelled = None, None
    if settings.supervision is not None and labelled_rows is not None:
        supervised = SupervisedLam(model, settings.supervision).to(default_device())
        labelled = LabelledTransitions(data, labelled_rows, model.window, settings.supervision, seed)

    def validate() -> dict[str, float]:
        return held_out_metrics(
            model, test=test, fit=fit, judged=judged, tolerance=held_out.frame_tolerance, supervised=supervised
        )

    with data.stream(model.training_window, data.rows, settings.training.batch_size, seed) as stream:

        def batch_at(step: int) -> Any:
            window = stream.window(step)
            return (window, labelled.batch(step)) if labelled else window

        train(
            module=supervised or model,
            batch_at=batch_at,
            loss=supervised.loss if supervised else model.loss,
            settings=settings.training,
            metrics=metrics,
            validate=validate,
            watched=Watched("fdm/loss"),
            state_dir=state_dir,
            identity=identity,
            title=title,
        )
    return model


def _judged(model: LatentActionModel, held_out: EpisodeTensors, test: HeldWindows) -> HeldWindows:
    """The held-out transitions whose action is known, as many as ``test``, or these themselves where they all are."""
    labelled = held_out.labelled_rows
    if len(labelled) == len(held_out.rows):
        return test
    return held_out.part(model.window, held_out.some_of(labelled, VALIDATION_TRANSITIONS))


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
    model: LatentActionModel = lam_settings(metadata["settings"]).build(spec=spec)
    load_weights(model, tensors, path)
    return model.to(default_device()).eval()
