"""Experiments from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lamflow.experiment.experiment import Experiment
from lamflow.experiment.trial import cut_to_trial
from lamflow.settings_errors import explain, settings_from
from lamflow.yaml_files import read_yaml


def load_experiment(raw: Any, source: str = "configuration") -> Experiment:
    """Validate a parsed configuration; ValueError lists each bad key with its value and what is allowed."""
    experiment = settings_from(raw, Experiment, source)
    try:
        return cut_to_trial(experiment) if experiment.trial else experiment
    except ValidationError as error:
        raise ValueError(explain(error, Experiment, source)) from None


def read_experiment(path: Path) -> Experiment:
    """Read and validate a YAML file; ValueError when it is not there, is no YAML or does not validate."""
    return load_experiment(read_yaml(path), source=str(path))
