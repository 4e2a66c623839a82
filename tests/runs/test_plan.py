"""The plan that a driver writes: what it holds, what is read back, and what is said when it cannot be."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lamflow.runs.plan import Driver, read_plan, write_plan


@dataclass(eq=False)
class Job:
    """What a plan reads of Snakemake's jobs."""

    name: str
    output: list[str]
    wildcards_dict: dict[str, Any] = field(default_factory=dict)
    needs: list[Job] = field(default_factory=list)
    group: Any = None
    is_local: bool = False
    restart_times: int = 1

    @property
    def rule(self) -> SimpleNamespace:
        return SimpleNamespace(name=self.name)

    @property
    def log(self) -> list[str]:
        return [f"logs/{self.name}.log"]


class Graph:
    """What a plan reads of Snakemake's graph; the first job was done before."""

    def __init__(self, *jobs: Job) -> None:
        self.jobs = jobs
        self.dependencies = {job: job.needs for job in jobs}

    def jobid(self, job: Job) -> int:
        return self.jobs.index(job)

    def needrun(self, job: Job) -> bool:
        return job is not self.jobs[0]

    def get_job_group(self, job: Job) -> Any:
        return job.group


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A results folder with the plan of three jobs, two of them in a group, and of a target rule."""
    group = SimpleNamespace(jobid="5b0591af", restart_times=2)
    episodes = Job("collect_episodes", ["train.zarr"], {"experiment": "tiny", "env": "maze", "split": "train"})
    lam = Job("train_lam", ["model"], {"experiment": "tiny", "env": "maze", "seed": 0}, [episodes], group)
    latents = Job("relabel_episodes", ["latents.zarr"], {"env": "maze", "seed": 0}, [episodes, lam], group)
    target = Job("all", [], {}, [latents], is_local=True)
    folder = tmp_path / "results" / "tiny"
    write_plan(
        folder / "plan.json",
        Graph(episodes, lam, latents, target),
        events=Path("results/tiny/events/run.jsonl"),
        snakemake_logs=["/somewhere/run.log"],
        slurm_job="17",
        folder=tmp_path,
    )
    return folder


def test_a_plan_holds_the_jobs_that_write_files_and_what_they_need(results: Path) -> None:
    plan = read_plan(results)
    assert [job.rule for job in plan.jobs] == ["collect_episodes", "train_lam", "relabel_episodes"]
    assert [job.needed for job in plan.jobs] == [False, True, True]
    assert [job.needs for job in plan.jobs] == [[], [0], [0, 1]]
    assert [job.submitted_as for job in plan.jobs] == ["0", "5b0591af", "5b0591af"]
    assert [job.attempts for job in plan.jobs] == [2, 3, 3]
    assert plan.folder == results.parents[1]
    assert plan.events == Path("results/tiny/events/run.jsonl")
    assert plan.snakemake_log == Path("/somewhere/run.log")


def test_jobs_say_their_stage_row_and_title(results: Path) -> None:
    episodes, lam, _ = read_plan(results).jobs
    assert (episodes.stage, episodes.env, episodes.seed) == ("episodes", "maze", "")
    assert (lam.stage, lam.env, lam.seed) == ("LAM", "maze", "0")
    assert lam.title == "train_lam maze seed 0"


def test_the_comment_of_a_slurm_job_is_the_executors(results: Path) -> None:
    """As squeue showed it for a job of the tiny experiment."""
    job = (
        read_plan(results)
        .jobs[0]
        .model_copy(update={"wildcards": {"experiment": "tiny", "env": "xland-doorkey-5x5-full", "split": "train"}})
    )
    assert job.comment == "rule_collect_episodes_wildcards_tiny_xland-doorkey-5x5-full_train"


def test_the_driver_is_this_process(results: Path) -> None:
    driver = read_plan(results).driver
    assert (driver.pid, driver.host, driver.slurm_job) == (os.getpid(), socket.gethostname(), "17")
    assert driver.runs_here() is True


def test_a_killed_driver_is_dead_even_before_its_parent_notices() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        alive = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        driver = Driver(pid=process.pid, host=socket.gethostname(), ticks=int(alive[19]), slurm_job=None)
        assert driver.runs_here() is True
        process.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert driver.runs_here() is False


def test_another_process_with_the_drivers_number_is_not_the_driver() -> None:
    driver = Driver(pid=os.getpid(), host=socket.gethostname(), ticks=1, slurm_job=None)
    assert driver.runs_here() is False


def test_a_driver_on_another_host_cannot_be_asked() -> None:
    assert Driver(pid=os.getpid(), host="elsewhere", ticks=1, slurm_job=None).runs_here() is None


def test_a_missing_folder_and_a_missing_plan_are_said(results: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"absent: no such folder; give the results folder of an experiment"):
        read_plan(tmp_path / "absent")
    with pytest.raises(ValueError, match=r"plan.json: there is no plan"):
        read_plan(tmp_path)


@pytest.mark.parametrize("text", ["", "{", '{"folder": "/somewhere"}'])
def test_a_damaged_plan_is_said(text: str, results: Path) -> None:
    (results / "plan.json").write_text(text)
    with pytest.raises(ValueError, match=r"plan.json: the plan is damaged, or another version of lamflow wrote it"):
        read_plan(results)
