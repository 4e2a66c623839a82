"""Stages that train, with Weights & Biases on: a run per training, with its whole settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from wandb_files import OfflineRun, offline_runs

from lamflow.data.store import EpisodeStore
from lamflow.envs.presets import preset
from lamflow.evaluation.metrics import read_runs
from lamflow.lam.one_step_settings import OneStepSettings
from lamflow.stages.log_experiment import has_curves
from lamflow.stages.train_expert import train_expert
from lamflow.stages.train_policy import train_policy

ENV = "xland-empty-random-8x8-full"
ON = {"wandb": True}
NETWORK = {"width": 8, "layers": 2, "hidden_width": 16}
TRAINING = {"steps": 6, "batch_size": 8, "log_every": 2, "validate_every": 3, "checkpoint_every": 4}


def assert_holds(run: OfflineRun, metrics: Path) -> None:
    """The run's curves are those of the metrics file."""
    table = read_runs([metrics], [{}])
    found = {(row["_step"], name): value for row in run.curves for name, value in row.items() if name != "_step"}
    assert found.keys() == {(row.step, f"{row.split}/{row.name}") for row in table.itertuples(index=False)}
    for row in table.itertuples(index=False):
        value = found[row.step, f"{row.split}/{row.name}"]
        assert value == pytest.approx(row.value, rel=1e-5, nan_ok=True)


@pytest.mark.slow
@pytest.mark.usefixtures("quick_probes")
def test_a_lams_run_has_its_settings_data_and_curves(world: Any, tmp_path: Path) -> None:
    folder = tmp_path / "trial" / "lam" / ENV / "single" / "seed0"
    world.train_lam("single", folder, logging=ON, experiment_dir=tmp_path / "trial")
    (run,) = offline_runs(tmp_path / "trial")
    assert run.run.display_name == f"lam/{ENV}/single/seed0" and run.run.job_type == "lam"
    assert list(run.run.tags) == ["trial", ENV, "single", "seed0"]
    assert OneStepSettings.model_validate(run.config["settings"]).quantizer.codes == 6
    assert run.config["inputs"]["train"] == EpisodeStore.open(world.episodes(), env=ENV).digest
    assert_holds(run, folder / "metrics.csv")
    assert has_curves(tmp_path / "trial", f"lam/{ENV}/single/seed0")


@pytest.mark.slow
def test_a_cloned_method_has_a_run_per_label_count_and_draw(world: Any, tmp_path: Path) -> None:
    folder = tmp_path / "trial" / "policies" / ENV / "bc" / "seed0"
    train_policy(
        environment=preset(ENV).facts(),
        method="bc",
        settings={"kind": "bc", "policy": {"network": NETWORK, "training": TRAINING}},
        logging=ON,
        labels=[16, 64],
        label_draws=1,
        seed=0,
        train=world.episodes(),
        validation=world.episodes("validation"),
        latents=None,
        validation_latents=None,
        decoders=None,
        output=folder / "policy.safetensors",
        metrics=folder / "metrics.csv",
        state_dir=tmp_path / "state",
        experiment_dir=tmp_path / "trial",
    )
    runs = offline_runs(tmp_path / "trial")
    assert [run.run.display_name.split("/")[-1] for run in runs] == ["labels 16, draw 0", "labels 64, draw 0"]
    assert len({run.run.run_id for run in runs}) == 2
    assert [(run.config["labels"], run.config["label_draw"]) for run in runs] == [("16", 0), ("64", 0)]
    assert_holds(runs[0], folder / "metrics.csv")
    assert has_curves(tmp_path / "trial", f"policies/{ENV}/bc/seed0")


@pytest.mark.slow
def test_an_expert_that_is_trained_is_a_run_and_a_planner_is_none(tmp_path: Path) -> None:
    for env in ("xland-doorkey-5x5-full", "xland-r1-9x9"):
        folder = tmp_path / "trial" / "experts" / env
        small = {"total_steps": 512, "num_envs": 8, "num_steps": 16}
        train_expert(
            environment=preset(env).facts(),
            settings=small if env.startswith("xland-doorkey") else {},
            seed=0,
            output=folder / "expert.safetensors",
            state_dir=tmp_path / "state" / env,
            logging=ON,
            experiment_dir=tmp_path / "trial",
        )
    (run,) = offline_runs(tmp_path / "trial")
    assert run.run.display_name == "experts/xland-doorkey-5x5-full" and run.run.job_type == "expert"
    assert run.config["settings"]["total_steps"] == 512
    assert_holds(run, tmp_path / "trial" / "experts" / "xland-doorkey-5x5-full" / "metrics.csv")
