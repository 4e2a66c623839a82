"""The progress of real runs: the plan that Snakemake's driver writes, and its events, markers and failures as they are."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

import pytest

from lamflow.runs.job_states import RunStatus, State, run_status
from lamflow.runs.plan import read_plan
from lamflow.runs.progress import main

TINY = ("--configfile=config/tiny.yaml",)
ENV = "xland-r1-9x9"
RESULTS = Path("results", "tiny")
EXPERT = RESULTS / "experts" / ENV / "expert.safetensors"
EPISODES = RESULTS / "data" / ENV / "train.zarr"
LOG = RESULTS / "logs" / "collect_episodes" / ENV / "train.log"


def status_of(checkout: Path) -> RunStatus:
    return run_status(read_plan(checkout / RESULTS))


def first_look_at_a_running_job(checkout: Path, process: Popen[bytes], *, seconds: float = 120) -> RunStatus:
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        run = status_of(checkout)
        if run.plan.driver.pid == process.pid and run.count(State.RUNNING):
            return run
        time.sleep(0.02)
    raise AssertionError("no job was seen running")


@pytest.mark.whole
def test_a_real_run_is_seen_to_finish_to_go_on_and_to_fail(
    checkout: Path, snakemake: Callable, start_snakemake: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    result = snakemake(checkout, *TINY, "--", str(EXPERT))
    assert result.returncode == 0, result.stdout[-3000:]
    run = status_of(checkout)
    assert [(status.job.title, status.state) for status in run.jobs] == [(f"train_expert {ENV}", State.DONE)]
    assert run.alive is False and run.ended

    checkout.joinpath(EXPERT).write_bytes(b"no expert")
    process = start_snakemake(checkout, *TINY, "--retries=1", "--", str(EPISODES))
    run = first_look_at_a_running_job(checkout, process)
    assert run.alive is True and not run.ended
    assert {status.job.rule: status.state for status in run.jobs} == {
        "train_expert": State.DONE,
        "collect_episodes": State.RUNNING,
    }

    assert process.wait() != 0
    (failed,) = [status for status in status_of(checkout).jobs if status.state is State.FAILED]
    assert [failure.message for failure in failed.events.failures] == ["exit status 1", "exit status 1"]
    assert failed.events.failures[-1].logs == [LOG]
    assert main([os.fspath(checkout / RESULTS)]) == 0
    shown = capsys.readouterr().out
    assert f"collect_episodes {ENV} train: attempt 2 failed (exit status 1)" in shown
    assert f"{LOG} ends with" in shown
    assert checkout.joinpath(LOG).read_text().splitlines()[-1] in shown
    assert "Snakemake has ended." in shown
