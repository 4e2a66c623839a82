"""A trial: every stage of an experiment at its full network sizes, and nothing of use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from lamflow.data.label_budgets import LabelBudget
from lamflow.evaluation.settings import EvaluationSettings
from lamflow.lam.settings import SupervisionSettings
from lamflow.methods.vpt_settings import VptMethodSettings
from lamflow.policies.settings import PolicySettings
from lamflow.rl.demonstrator_settings import CollectionSettings, PixelExpertSettings
from lamflow.rl.online_settings import DelayedRateSettings, OnlineDecoderSettings, OnlinePpoSettings
from lamflow.settings import LARGEST_BATCH, LONGEST_NAME, MOST, Settings
from lamflow.training.settings import TrainingSettings

if TYPE_CHECKING:
    from lamflow.experiment.experiment import Experiment


class TrialSettings(Settings):
    """A trial run of an experiment at its full network sizes: nothing that it trains is of use, but every stage has run.

    Its results lie in `results/<experiment>-trial/`: those of the experiment itself are not touched.
    For example `snakemake all --configfile config/paper.yaml --config "envs=[procgen-chaser]" "seeds=[0]" "trial={steps: 50}"`.
    Label budgets that the few episodes may not hold are left out, there is one label draw, and episodes come from the
    simulator.
    """

    steps: int = Field(50, gt=0, description="Optimiser steps of every training, at most.")
    batch_size: int = Field(8, gt=0, le=LARGEST_BATCH, description="Batch size of every training, at most.")
    episodes: int = Field(4, gt=0, le=MOST, description="Episodes a split and of every evaluation, at most.")
    labels: int = Field(64, gt=0, le=MOST, description="Largest label budget, in transitions.")


def cut_to_trial(experiment: Experiment) -> Experiment:
    """The experiment with every number at most what its ``trial`` says, under a name of its own, which keeps it out of the real results.

    ValueError when no label budget is left.
    """
    trial = experiment.trial
    assert trial is not None
    counts = [LabelBudget.parse(labels).transitions for labels in experiment.labels]
    labels = [count for count in counts if 0 < count <= trial.labels]
    if not labels:
        raise ValueError(f"trial.labels: no label budget is at most {trial.labels}; found {list(experiment.labels)}")
    rollout = {"num_envs": 2, "num_steps": 16, "minibatches": 1}
    limits: dict[type, Mapping[str, int]] = {
        TrainingSettings: {"steps": trial.steps, "batch_size": trial.batch_size},
        CollectionSettings: dict.fromkeys(
            ("train_episodes", "validation_episodes", "test_episodes", "reference_episodes"), trial.episodes
        ),
        EvaluationSettings: {"episodes": trial.episodes, "during_training": 2},
        PolicySettings: {"episodes": trial.episodes},
        VptMethodSettings: {"labeller_episodes": trial.episodes},
        SupervisionSettings: {"labels": max(labels), "label_draw": 0, "batch_size": trial.batch_size},
        PixelExpertSettings: {**rollout, "total_steps": 4 * 32, "validation_episodes": 2},
        OnlinePpoSettings: {**rollout, "total_steps": 4 * 32},
        OnlineDecoderSettings: {"first_fit": 32, "each_until": 128, "last_fit": 128},
        DelayedRateSettings: {"starts_at": 32, "full_at": 64},
    }
    cut = _limited(experiment.model_dump(mode="json"), experiment, limits)
    cut["collection"] |= {"source": "expert"}
    ending = "-trial"
    name = experiment.experiment[: LONGEST_NAME - len(ending)] + ending
    return type(experiment).model_validate(cut | {"experiment": name, "labels": labels, "label_draws": 1})


def _limited(dumped: Any, settings: Any, limits: Mapping[type, Mapping[str, int]]) -> Any:
    """``dumped``, which was made of ``settings``, with the numbers of each settings group within its limits."""
    if isinstance(settings, Mapping):
        return {name: _limited(dumped[name], value, limits) for name, value in settings.items()}
    if not isinstance(settings, BaseModel):
        return dumped
    cut = {name: _limited(dumped[name], getattr(settings, name), limits) for name in type(settings).model_fields}
    numbers = {name: most for name, most in limits.get(type(settings), {}).items() if cut[name] != "all"}
    cut |= {name: min(cut[name], most) for name, most in numbers.items()}
    if isinstance(settings, TrainingSettings):
        # Each device has an equal part of the batch; a batch norm takes two of what had so many.
        each = max(-(-cut["batch_size"] // settings.devices), min(2, settings.batch_size // settings.devices))
        cut["batch_size"] = each * settings.devices
    return cut
