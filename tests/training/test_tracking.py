"""Weights & Biases, run for real in its offline mode: whose run it is, what it says, and what happens when it fails."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from wandb_files import offline_runs

from lamflow.code_digests import Code
from lamflow.training.metrics import MetricsLog
from lamflow.training.settings import LoggingSettings
from lamflow.training.tracking import LONGEST_TAG, TrackedRun, Tracker, folder_id

ON = LoggingSettings(wandb=True)


def tracked(results: Path, **changes: Any) -> TrackedRun:
    run = TrackedRun(
        experiment_dir=results,
        kind="lam",
        name="lam/maze/lapo/seed3",
        identity="these settings",
        code=Code("lamflow.stages.train_lam"),
        settings={"training": {"steps": 9}},
        inputs={"train": "a digest"},
        env="maze",
        lam="lapo",
        seed=3,
    )
    return replace(run, **changes)


@pytest.fixture(autouse=True)
def hope() -> Iterator[None]:
    """No test gives up for the next one."""
    yield
    Tracker.given_up = False


def go(script: str, results: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script that has ``run``, ``log`` and ``kill`` in a process of its own."""
    setting = f"""
        import os, signal, sys
        from pathlib import Path
        import psutil
        from lamflow.training.settings import LoggingSettings
        from lamflow.code_digests import Code
        from lamflow.training import tracking
        from lamflow.training.metrics import MetricsLog
        run = tracking.TrackedRun(Path({str(results)!r}), "lam", "lam/maze/lapo/seed3", "these settings",
            Code("lamflow.stages.train_lam"), {{}}, env="maze", lam="lapo", seed=3)
        def kill(number):
            for process in psutil.Process().children():
                if process.name().startswith("wandb-core"):
                    process.send_signal(number)
    """
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(setting) + textwrap.dedent(script)],
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def test_a_training_is_one_run_that_says_what_made_its_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMFLOW_COMMAND", "snakemake all --cores 2")
    log = MetricsLog(ON, tracked(tmp_path / "trial", lam="l" * 99))
    log.log(5, "train", {"loss": 2})
    log.log(5, "validation", {"loss": 3})
    log.log(10, "train", {"loss": 1})
    log.finish()
    (found,) = offline_runs(tmp_path / "trial")
    run, config = found.run, found.config
    assert (run.project, run.display_name, run.job_type) == ("lamflow", "lam/maze/lapo/seed3", "lam")
    assert run.run_group == "trial/maze"
    assert list(run.tags) == ["trial", "maze", "l" * LONGEST_TAG, "seed3"]
    assert found.curves == [{"_step": 5, "train/loss": 2, "validation/loss": 3}, {"_step": 10, "train/loss": 1}]
    assert config["settings"] == {"training": {"steps": 9}} and config["inputs"] == {"train": "a digest"}
    assert (config["experiment"], config["env"], config["seed"]) == ("trial", "maze", 3)
    assert config["command"] == "snakemake all --cores 2"
    assert config["packages"]["torch"] and "commit" in config and len(config["code_digest"]) == 16


@pytest.mark.slow
def test_everything_lies_in_the_experiments_folder(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    script = "log = MetricsLog(LoggingSettings(wandb=True), run); log.log(1, 'train', {'a': 1}); log.finish()"
    done = go(script, tmp_path / "trial", HOME=str(home), XDG_CACHE_HOME=str(home), XDG_CONFIG_HOME=str(home))
    assert done.returncode == 0, done.stderr
    assert not list(home.rglob("*wandb*"))
    assert [path.name for path in (tmp_path / "trial").iterdir()] == ["wandb"]


@pytest.mark.slow
def test_variables_of_the_caller_name_group_merge_and_move_no_run(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    names = {"MODE": "disabled", "DIR": str(elsewhere), "RUN_ID": "other", "PROJECT": "other", "RUN_GROUP": "other"}
    names |= {"NAME": "other", "JOB_TYPE": "other", "TAGS": "other", "NOTES": "other", "SWEEP_ID": "other"}
    names |= {"RESUME": "never", "SERVICE": "3-1-tcp-localhost-1", "DISABLED": "true"}
    script = """
        log = MetricsLog(LoggingSettings(wandb=True), run)
        log.log(1, "train", {"a": 1})
        log.finish()
        assert os.environ["WANDB_RUN_ID"] == "other"
    """
    done = go(script, tmp_path / "trial", **{f"WANDB_{name}": value for name, value in names.items()})
    assert done.returncode == 0, done.stderr
    (found,) = offline_runs(tmp_path / "trial")
    assert "other" not in str(found.run) and len(found.rows) == 1
    assert found.run.run_id == tracked(tmp_path / "trial").run_id()
    assert not elsewhere.exists()


def test_an_id_is_one_trainings_alone(tmp_path: Path) -> None:
    run = tracked(tmp_path / "trial")
    others = [
        tracked(tmp_path / "trial", identity="other settings"),
        tracked(tmp_path / "trial", name="lam/maze/lapo/seed4"),
        tracked(tmp_path / "trial", part_name="labels 64, draw 1"),
        tracked(tmp_path / "other"),
        tracked(tmp_path / "elsewhere" / "trial"),
    ]
    ids = [each.run_id() for each in [run, *others]]
    assert len(set(ids)) == len(ids)
    assert tracked(tmp_path / "trial", settings={"the same": "as its identity says"}).run_id() == ids[0]


def test_an_id_goes_with_its_results_folder(tmp_path: Path) -> None:
    before = tracked(tmp_path / "trial").run_id()
    (tmp_path / "moved").mkdir()
    (tmp_path / "trial").rename(tmp_path / "moved" / "trial")
    assert tracked(tmp_path / "moved" / "trial").run_id() == before


def test_jobs_that_start_together_agree_on_the_folders_id(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(folder_id, [tmp_path / "wandb"] * 64))
    assert len(found) == 1 and len(found.pop()) == 32
    assert [path.name for path in (tmp_path / "wandb").iterdir()] == ["folder_id"]


@pytest.mark.slow
def test_an_interrupted_training_goes_on_in_its_run_with_each_step_once(tmp_path: Path) -> None:
    """Killed after step 7, of which the checkpoint of step 4 is left."""
    killed = """
        log = MetricsLog(LoggingSettings(wandb=True), run)
        for step in range(1, 8):
            log.log(step, "train", {"loss": step})
        os.kill(os.getpid(), signal.SIGKILL)
    """
    resumed = """
        log = MetricsLog(LoggingSettings(wandb=True), run)
        log.rows = [(step, "train", "loss", float(step)) for step in range(1, 5)]
        for step in range(5, 11):
            log.log(step, "train", {"loss": step})
        log.finish()
    """
    assert go(killed, tmp_path / "trial").returncode < 0
    assert go(resumed, tmp_path / "trial").returncode == 0
    (found,) = offline_runs(tmp_path / "trial")
    assert found.curves == [{"_step": step, "train/loss": step} for step in range(1, 11)]
    assert found.run.resume


def test_what_the_server_has_of_an_interrupted_run_is_not_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[int] = []
    run = SimpleNamespace(
        step=3, dir=str(tmp_path / "run" / "files"), log=lambda values, step: logged.append(step), finish=lambda: None
    )
    fake = SimpleNamespace(init=lambda **_: run, Settings=lambda **_: None)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    log = MetricsLog(LoggingSettings(wandb=True, wandb_mode="online"), tracked(tmp_path / "trial"))
    log.rows = [(1, "train", "loss", 1.0)]
    for step in range(2, 6):
        log.log(step, "train", {"loss": step})
    log.finish()
    assert logged == [3, 4, 5]


def test_a_training_that_was_done_when_it_was_resumed_has_its_curves_too(tmp_path: Path) -> None:
    log = MetricsLog(ON, tracked(tmp_path / "trial"))
    log.rows = [(1, "train", "loss", 1.0)]
    log.finish()
    (found,) = offline_runs(tmp_path / "trial")
    assert found.curves == [{"_step": 1, "train/loss": 1}]


MISHAPS = {
    "absent": ("sys.modules['wandb'] = None", {}, "ModuleNotFoundError"),
    "no key for online mode": ("", {"mode": "online"}, "No API key"),
    "gone in the middle": ("", {"mishap": "kill(signal.SIGKILL)"}, "Connection"),
    "hung in the middle": (
        "tracking.CALL_SECONDS = tracking.FINISH_SECONDS = 2",
        {"mishap": "kill(signal.SIGSTOP)"},
        "no answer",
    ),
    "the folder is a file": ("run.experiment_dir.mkdir(); run.folder.touch()", {}, "Error"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MISHAPS)
def test_a_mishap_ends_no_training_and_is_said_once(name: str, tmp_path: Path) -> None:
    before, given, said = MISHAPS[name]
    script = f"""
        {before}
        settings = LoggingSettings(wandb=True, wandb_mode={given.get("mode", "offline")!r})
        first = MetricsLog(settings, run)
        first.log(1, "train", {{"loss": 1}})
        {given.get("mishap", "")}
        for step in range(2, 3000):
            first.log(step, "train", {{"loss": step}})
        first.finish()
        second = MetricsLog(settings, run)
        second.log(1, "train", {{"loss": 1}})
        second.finish()
        first.write(Path({str(tmp_path / "metrics.csv")!r}))
    """
    done = go(script, tmp_path / "trial")
    assert done.returncode == 0, done.stderr
    warnings = [line for line in done.stderr.splitlines() if line.startswith("Weights & Biases:")]
    assert len(warnings) == 1 and said in warnings[0] and "goes on without it" in warnings[0], done.stderr
    assert "Traceback" not in done.stderr
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 3000
    assert not (tmp_path / "trial" / "wandb" / "runs" / "lam").is_dir()


@pytest.mark.slow
def test_wandb_is_loaded_only_when_it_is_on(tmp_path: Path) -> None:
    script = """
        import lamflow.stages.log_experiment, lamflow.stages.train_expert, lamflow.stages.train_policy
        MetricsLog(LoggingSettings(), run).finish()
        assert "wandb" not in sys.modules
    """
    done = go(script, tmp_path / "trial")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "trial").exists()
