"""Snakemake's executor plugin `lamflow` on a stand-in for Slurm, which answers as the tests want it to."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
SNAKEFILE = """
from pathlib import Path
from lamflow.runs import events
from lamflow.runs.wakeups import wake_for_jobs_alone
from snakemake_logger_plugin_lamflow import listen

onstart:
    wake_for_jobs_alone(workflow, executor_keeps_limit=True)
    events.begin(Path())
    listen(workflow.logger_manager, events.note_record)

localrules: all

rule all:
    input: expand("{name}", name=config["names"])

rule one:
    output: "{name}"
    shell: "touch {output}"
"""
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def slurm(tmp_path: Path) -> Path:
    """The folder of the stand-in."""
    folder = tmp_path / "slurm"
    folder.joinpath("bin").mkdir(parents=True)
    folder.joinpath("fates").write_text("COMPLETED")
    for command in ("sbatch", "squeue", "sacct", "scancel", "scontrol"):
        path = folder / "bin" / command
        # A first line cannot name an interpreter in a folder with a space; to Python the second is a string.
        first = f"#!/bin/sh\n'''exec' {shlex.quote(sys.executable)} \"$0\" \"$@\"\n' '''\n"
        path.write_text(first + HERE.joinpath("fake_slurm", "slurm.py").read_text())
        path.chmod(0o755)
    return folder


@pytest.fixture
def start(slurm: Path, tmp_path: Path) -> Start:
    """Starts a run that makes ``names``, with the executor of tests, which does not wait long."""

    def snakemake(names: str, *options: str, fates: str = "COMPLETED", **environment: str) -> subprocess.Popen[str]:
        tmp_path.joinpath("Snakefile").write_text(SNAKEFILE)
        slurm.joinpath("fates").write_text(fates)
        paths = [HERE.parents[1] / "src", HERE / "slurm" / "plugins"]
        command = [sys.executable, "-m", "snakemake", "--executor=quick", "--jobs=9", "--latency-wait=1", "--nocolor"]
        return subprocess.Popen(
            [*command, "--default-resources", "slurm_partition=main", *options, "--config", f"names=[{names}]"],
            cwd=tmp_path,
            env=os.environ
            | {"PATH": f"{slurm / 'bin'}:{os.environ['PATH']}", "FAKE_SLURM": str(slurm)}
            | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
            | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    return snakemake


def said_by(driver: subprocess.Popen[str], *, fails: bool = False) -> str:
    said, _ = driver.communicate(timeout=60)
    assert (driver.returncode != 0) is fails, said[-3000:]
    return said


def jobs_of(slurm: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(slurm.glob("*.job"))]


def events_of(folder: Path, *kinds: str) -> list[dict[str, Any]]:
    (path,) = folder.glob("events/*.jsonl")
    events = [json.loads(line) for line in path.read_text().splitlines()]
    return [event for event in events if event["event"] in kinds]


@pytest.mark.slow
def test_jobs_that_slurm_completes_are_done_and_noted(start: Start, slurm: Path, tmp_path: Path) -> None:
    said_by(start("a,b"))
    assert len(jobs_of(slurm)) == 2
    submitted = {event["job"]: event["slurm_id"] for event in events_of(tmp_path, "submitted")}
    assert set(submitted.values()) == {"1", "2"}
    assert {str(event["job"]) for event in events_of(tmp_path, "finished")} >= submitted.keys()


@pytest.mark.slow
def test_a_job_that_slurm_ends_has_failed_in_its_state(start: Start, slurm: Path, tmp_path: Path) -> None:
    said = said_by(start("a", "--retries=1", fates="TIMEOUT\nCOMPLETED"))
    assert "SLURM-job '1' failed, SLURM status is: 'TIMEOUT'. " in said
    (failed,) = events_of(tmp_path, "failed")
    assert (failed["slurm_state"], Path(failed["logs"][-1]).name) == ("TIMEOUT", "1.log")
    assert [job["state"] for job in jobs_of(slurm)] == ["TIMEOUT", "COMPLETED"]


@pytest.mark.slow
def test_the_accounting_tells_how_a_job_ended_that_squeue_lists_no_longer(start: Start, tmp_path: Path) -> None:
    said = said_by(start("a", "--retries=1", fates="forgotten OUT_OF_MEMORY\nforgotten COMPLETED"))
    assert "SLURM-job '1' failed, SLURM status is: 'OUT_OF_MEMORY'. " in said
    assert "no longer known" not in said


@pytest.mark.slow
def test_a_job_that_nobody_knows_has_failed_and_is_cancelled(start: Start, slurm: Path) -> None:
    said = said_by(start("a", fates="forgotten RUNNING"), fails=True)
    assert "SLURM-job '1' is no longer known to Slurm, and its outputs are not there." in said
    assert slurm.joinpath("1.cancelled").exists()


@pytest.mark.slow
def test_what_slurm_has_not_answered_is_submitted_again(start: Start, slurm: Path) -> None:
    said_by(start("a,b", fates="unanswered\nunanswered\nunanswered\nCOMPLETED"))
    assert len(jobs_of(slurm)) == 2


@pytest.mark.slow
def test_what_slurm_has_heard_without_an_answer_is_not_submitted_twice(start: Start, slurm: Path) -> None:
    said = said_by(start("a", fates="unheard"))
    assert "has reached Slurm all the same, with SLURM jobid 1." in said
    assert len(jobs_of(slurm)) == 1


@pytest.mark.slow
def test_submissions_keep_to_the_limit(start: Start, slurm: Path) -> None:
    said_by(start("a,b,c,d", "--max-jobs-per-timespan=2/2s"))
    times = sorted(job["time"] for job in jobs_of(slurm))
    assert len(times) == 4 and times[-1] - times[0] >= 2  # 3, if each began at once


@pytest.mark.slow
def test_ctrl_c_cancels_what_is_being_submitted_and_submits_no_more(start: Start, slurm: Path) -> None:
    driver = start("a,b,c,d,e,f", fates="RUNNING", SBATCH_SECONDS="1")
    deadline = time.monotonic() + 60
    while not jobs_of(slurm) and time.monotonic() < deadline:
        time.sleep(0.05)
    driver.send_signal(signal.SIGINT)
    said_by(driver, fails=True)
    numbers = {path.stem for path in slurm.glob("*.job")}
    assert numbers and {path.stem for path in slurm.glob("*.cancelled")} == numbers
    assert len(numbers) < 6


@pytest.mark.slow
def test_settings_without_a_meaning_are_refused(start: Start) -> None:
    said = said_by(start("a", "--quick-status-command=sacct"), fails=True)
    assert "--lamflow-status-command has no meaning here; leave it out." in said and "Traceback" not in said


@pytest.mark.slow
def test_snakemakes_own_executor_is_refused_with_advice(checkout: Path, slurm: Path) -> None:
    command = [sys.executable, "-m", "snakemake", "--executor=slurm", "--jobs=1", "--configfile=config/tiny.yaml"]
    environment = os.environ | {"PATH": f"{slurm / 'bin'}:{os.environ['PATH']}", "FAKE_SLURM": str(slurm)}
    run = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "take --executor lamflow, which is that executor without this fault" in run.stderr
    assert jobs_of(slurm) == []
