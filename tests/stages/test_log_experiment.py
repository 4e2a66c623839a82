"""An experiment's tables and figures as a run, and what its file says of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import pytest
from wandb_files import OfflineRun, offline_runs

from lamflow.code_digests import Code
from lamflow.stages.log_experiment import has_curves, log_experiment
from lamflow.training.metrics import MetricsLog
from lamflow.training.settings import LoggingSettings
from lamflow.training.tracking import TrackedRun, Tracker

AGGREGATE = "env,method,labels,mean,iqm,success_rate\nmaze,lapo,64,0.5,0.25,1\nmaze,bc,null,0.125,,0\n"


@pytest.fixture(autouse=True)
def hope() -> Iterator[None]:
    """No test gives up for the next one."""
    yield
    Tracker.given_up = False


def made_up_results(folder: Path) -> list[Path]:
    frames = np.zeros((2, 8, 8, 3), dtype=np.uint8)
    texts = {"summary/aggregate.csv": AGGREGATE, "summary/table.csv": "a,b\n1,x\n", "summary/table.md": "| a |"}
    texts |= {"plots/method_comparison.svg": "<svg xmlns='http://www.w3.org/2000/svg'/>"}
    paths = [folder / name for name in [*texts, "plots/maze/lapo/film_strip.png", "plots/maze/film.gif"]]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    imageio.imwrite(paths[-2], frames[0])
    imageio.imwrite(paths[-1], frames)
    return paths


def send(folder: Path, results: list[Path], trainings: tuple[str, ...] = (), **logging: Any) -> dict[str, Any]:
    log_experiment(
        experiment="trial",
        settings={"envs": ["maze"]},
        logging={"wandb": True, **logging},
        results=results,
        trainings=trainings,
        experiment_dir=folder,
        output=folder / "wandb" / "experiment.json",
    )
    answer: dict[str, Any] = json.loads((folder / "wandb" / "experiment.json").read_text())
    return answer


def train(folder: Path, name: str, *, parts: int = 1, finished: int = 1, wandb: bool = True) -> None:
    """What a stage does: a run per part, and the metrics file of the first."""
    for part in range(finished):
        run = TrackedRun(
            folder,
            "policy",
            name,
            "settings",
            Code("lamflow.stages.train_policy"),
            {},
            part=(part, parts),
            part_name=str(part),
        )
        log = MetricsLog(LoggingSettings(wandb=wandb), run)
        log.log(1, "train", {"loss": float(wandb)})
        log.finish()
    log.write(folder / name / "metrics.csv")


def sent_media(run: OfflineRun, fact: str) -> dict[str, Any]:
    """A fact (``_type``, ``path``) of each thing that was sent, by its name."""
    ending = f"/{fact}"
    return {name.removesuffix(ending): row[name] for row in run.rows for name in row if name.endswith(ending)}


@pytest.mark.slow
def test_an_experiment_is_one_run_with_its_tables_figures_and_settings(tmp_path: Path) -> None:
    folder = tmp_path / "trial"
    answer = send(folder, made_up_results(folder))
    (found,) = offline_runs(folder)
    kinds, paths = sent_media(found, "_type"), sent_media(found, "path")
    assert kinds == {
        "summary/aggregate": "table-file",
        "summary/table": "table-file",
        "plots/method_comparison": "html-file",
        "plots/maze/lapo/film_strip": "image-file",
        "plots/maze/film": "video-file",
    }
    assert all((found.folder / "files" / path).is_file() for path in paths.values())
    table = json.loads((found.folder / "files" / paths["summary/aggregate"]).read_text())
    assert table["columns"] == AGGREGATE.splitlines()[0].split(",")
    assert table["data"] == [["maze", "lapo", 64, 0.5, 0.25, 1], ["maze", "bc", "null", 0.125, None, 0]]
    assert found.summary["mean/maze/lapo/64"] == 0.5 and found.summary["iqm/maze/lapo/64"] == 0.25
    assert found.config["settings"] == {"envs": ["maze"]} and len(found.config["inputs"]) == 5
    assert (found.run.job_type, found.run.run_group, list(found.run.tags)) == ("experiment", "trial", ["trial"])
    assert answer["run"] == found.run.run_id and sorted(answer["sent"]) == sorted(kinds)
    assert answer["not_sent"] == ["summary/table.md"] and answer["error"] is None


@pytest.mark.slow
def test_sent_again_it_is_the_same_run(tmp_path: Path) -> None:
    folder = tmp_path / "trial"
    results = made_up_results(folder)
    first = send(folder, results)
    assert send(folder, results)["run"] == first["run"]
    assert len(offline_runs(folder)) == 1


@pytest.mark.slow
def test_trainings_without_curves_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "trial"
    names = ("tracked", "untracked", "absent", "whole", "half", "repeated_without")
    train(folder, "tracked")
    train(folder, "untracked", wandb=False)
    train(folder, "whole", parts=2, finished=2)
    train(folder, "half", parts=2, finished=1)
    train(folder, "repeated_without")
    train(folder, "repeated_without", wandb=False)
    answer = send(folder, made_up_results(folder), names)
    without = ["untracked", "absent", "half", "repeated_without"]
    assert answer["trainings_without_curves"] == without
    (run,) = [found for found in offline_runs(folder) if found.run.job_type == "experiment"]
    assert run.config["trainings_without_curves"] == without
    assert has_curves(folder, "whole")


def test_a_tracker_that_fails_leaves_the_file_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    folder = tmp_path / "trial"
    answer = send(folder, made_up_results(folder))
    assert answer["sent"] == [] and "summary/aggregate" in answer["not_sent"]
    assert answer["error"].startswith("ModuleNotFoundError")


@pytest.mark.slow
def test_wandb_itself_finds_the_runs_to_sync(tmp_path: Path) -> None:
    folder = tmp_path / "trial"
    train(folder, "lam/maze/lapo/seed0")
    send(folder, made_up_results(folder))
    command = [str(Path(sys.executable).with_name("wandb")), "sync", "--dry-run", str(folder / "wandb")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    assert "Would sync 2 run(s)" in done.stdout + done.stderr
