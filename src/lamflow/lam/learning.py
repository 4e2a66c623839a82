"""Training a latent action model on the episodes of one environment."""

from __future__ import annotations

from pathlib import Path

import torch

from lamflow.catalogue import EnvironmentSpec
from lamflow.config import LamSettings
from lamflow.data.store import EpisodeArrays
from lamflow.data.windows import TransitionStream, gather_windows, starts_of_rows, transition_rows
from lamflow.lam.model import LatentActionModel
from lamflow.lam.validation import held_out_metrics
from lamflow.training.checkpoint import load_weights, read_model, seed_everything
from lamflow.training.loop import Loss, train
from lamflow.training.metrics import MetricsLog

PROBE_TRANSITIONS = 4096
"""Most transitions of the training episodes that a probe is fitted on."""
VALIDATION_TRANSITIONS = 4096
"""Most transitions of held-out episodes that a validation looks at."""


class WindowBatches:
    """Windows (o_{t-1}, o_t, o_{t+1}) of a split, by row."""

    def __init__(self, arrays: EpisodeArrays) -> None:
        self.observations = torch.from_numpy(arrays.observations)
        self.actions = torch.from_numpy(arrays.actions)
        self.starts = starts_of_rows(arrays)
        self.rows = transition_rows(arrays)

    def windows(self, rows: torch.Tensor) -> torch.Tensor:
        """uint8 [B, 3, H, W, 2] for ``rows`` int64 [B]."""
        return torch.stack(gather_windows(self.observations, rows, self.starts), dim=1)

    def sample(self, count: int) -> torch.Tensor:
        """At most ``count`` rows, always the same ones."""
        order = torch.randperm(len(self.rows), generator=torch.Generator().manual_seed(0))
        return self.rows[order[:count]]


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
    model = LatentActionModel(settings=settings, spec=spec)
    batches, held_out = WindowBatches(train_arrays), WindowBatches(validation_arrays)
    stream = TransitionStream(batches.rows, settings.training.batch_size, seed)
    fit_rows, test_rows = batches.sample(PROBE_TRANSITIONS), held_out.sample(VALIDATION_TRANSITIONS)

    def validate() -> dict[str, float]:
        return held_out_metrics(
            model,
            fit_windows=batches.windows(fit_rows),
            fit_actions=batches.actions[fit_rows],
            test_windows=held_out.windows(test_rows),
            test_actions=held_out.actions[test_rows],
            num_actions=spec.num_actions,
        )

    def loss_at(step: int) -> Loss:
        return model.loss(batches.windows(stream.batch(step)))

    train(
        module=model,
        loss_at=loss_at,
        settings=settings.training,
        metrics=metrics,
        validate=validate,
        state_dir=state_dir,
        identity=identity,
        title=title,
    )
    return model


def load_latent_action_model(
    path: Path, *, spec: EnvironmentSpec, lam: str | None = None, seed: int | None = None
) -> LatentActionModel:
    """A trained model; ValueError when the file is missing, damaged, or of another environment, LAM, seed or architecture."""
    tensors, metadata = read_model(path)
    for key, expected in (("kind", "lam"), ("env", spec.name), ("lam", lam), ("seed", seed)):
        if expected is not None and metadata.get(key) != expected:
            raise ValueError(
                f"{path}: found a model of {key} {metadata.get(key)!r}, expected {expected!r}: give the file of that {key}"
            )
    model = LatentActionModel(settings=LamSettings.model_validate(metadata["settings"]), spec=spec)
    load_weights(model, tensors, path)
    return model.eval()
