"""Fits latent action models on episodes in memory, with seed 0."""

from pathlib import Path

from torch import Tensor

from lamflow.data.store import EpisodeArrays
from lamflow.data.tensors import EpisodeTensors
from lamflow.envs.spec import EnvironmentSpec
from lamflow.lam.learning import fit_latent_action_model
from lamflow.lam.one_step import OneStepLam
from lamflow.lam.one_step_settings import OneStepSettings
from lamflow.training.metrics import MetricsLog


def fitted(
    spec: EnvironmentSpec,
    settings: OneStepSettings,
    train: EpisodeArrays,
    validation: EpisodeArrays,
    state_dir: Path | None = None,
    labelled_rows: Tensor | None = None,
) -> tuple[OneStepLam, MetricsLog]:
    """The model, and what was logged."""
    metrics = MetricsLog()
    model = fit_latent_action_model(
        spec=spec,
        settings=settings,
        data=EpisodeTensors(train),
        held_out=EpisodeTensors(validation),
        seed=0,
        metrics=metrics,
        state_dir=state_dir,
        identity="test",
        labelled_rows=labelled_rows,
    )
    return model, metrics
