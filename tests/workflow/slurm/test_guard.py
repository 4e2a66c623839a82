"""Jobs that Snakemake's Slurm executor would wait for without end; each waits for a file `go`, here and in the tests."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from driving import Driver, started
from private_cluster import PATIENCE, PrivateCluster, until

SNAKEFILE = """
import shlex, sys

sys.executable = shlex.quote(sys.executable)

localrules: all, prepare

rule all:
    input: "first", "second"

rule first:
    output: "first"
    shell: "echo >> attempts; while [ ! -e go ]; do sleep .1; done; echo new > {output}"

rule second:
    input: "prepared"
    output: "second"
    shell: "echo >> second-attempts; echo new > {output}"

rule prepare:
    output: "prepared"
    shell: "while [ ! -e prepare ]; do sleep .1; done; touch {output}"
"""
PROFILE = {
    "executor": "quick",
    "jobs": 4,
    "retries": 0,
    "latency-wait": 2,
    "default-resources": {"slurm_partition": "low", "mem_mb": 500, "runtime": 5},
    "quick-no-requeue": True,
}
SETTINGS = {
    "PreemptType": "preempt/partition_prio",
    "PreemptMode": "CANCEL",
    "KillWait": 2,
    "MinJobAge": 6,
    "MessageTimeout": 3,
}


@pytest.fixture(scope="module")
def cluster(slurm_programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateCluster]:
    """One node, on which jobs of the partition ``high`` end those of ``low``; ended jobs are soon forgotten."""
    partitions = {"low": "Default=YES PriorityTier=1", "high": "PriorityTier=2"}
    folder = tmp_path_factory.mktemp("slurm")
    with started(folder, nodes=1, gpus=0, settings=SETTINGS, partitions=partitions) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.joinpath("slurm").mkdir()
    tmp_path.joinpath("slurm/config.yaml").write_text(yaml.safe_dump(PROFILE))
    tmp_path.joinpath("Snakefile").write_text(SNAKEFILE)
    return tmp_path


def first_runs(folder: Path) -> None:
    until(folder.joinpath("attempts").exists, seconds=120, what="the first job runs")


def attempts(folder: Path, name: str = "attempts") -> int:
    return len(folder.joinpath(name).read_text().splitlines())


def test_a_preempted_job_is_tried_again(cluster: PrivateCluster, drive: Callable[..., Driver], folder: Path) -> None:
    driver = drive(folder, "--retries=1", "first")
    first_runs(folder)
    cluster.command("sbatch", "--partition=high", "--exclusive", "--mem=50", "--output=/dev/null", "--wrap=true")
    ended = ("squeue", "--noheader", "--states=PREEMPTED", "--partition=low")
    until(lambda: cluster.command(*ended), seconds=120, what="the first job is preempted")
    folder.joinpath("go").touch()
    until(lambda: "is PREEMPTED" in driver.said, seconds=120, what="the preemption is reported")
    driver.wait(seconds=120)
    assert attempts(folder) == 2


def test_a_job_that_slurm_has_forgotten_is_done_when_its_outputs_are_there(
    cluster: PrivateCluster, drive: Callable[..., Driver], folder: Path
) -> None:
    driver = drive(folder, "first")
    first_runs(folder)
    driver.process.send_signal(signal.SIGSTOP)
    folder.joinpath("go").touch()
    until(lambda: not cluster.command("squeue", "--noheader", "--states=all"), seconds=120, what="the job is forgotten")
    driver.process.send_signal(signal.SIGCONT)
    driver.wait(seconds=120)
    assert attempts(folder) == 1


def test_a_lost_job_does_not_pass_off_an_earlier_output_as_its_own(
    cluster: PrivateCluster, drive: Callable[..., Driver], folder: Path
) -> None:
    folder.joinpath("go").touch()
    folder.joinpath("first").write_text("old\n")
    cluster.command("sbatch", "--exclusive", "--mem=50", "--output=/dev/null", "--wrap=sleep 600")
    driver = drive(folder, "--retries=1", "--force", "first")
    until(lambda: "has been submitted" in driver.said, seconds=120, what="the job waits for a node")
    cluster.stop_controller()
    shutil.rmtree(cluster.folder / "state")
    cluster.folder.joinpath("state").mkdir()
    cluster.start_controller()
    assert "is no longer known to Slurm" in driver.wait(seconds=120)
    assert folder.joinpath("first").read_text() == "new\n"
    assert attempts(folder) == 1


def test_jobs_outlast_a_controller_that_is_away_and_are_submitted_when_it_is_back(
    cluster: PrivateCluster, drive: Callable[..., Driver], folder: Path
) -> None:
    driver = drive(folder)
    first_runs(folder)
    cluster.stop_controller()
    until(lambda: "submitted jobs are waited for" in driver.said, seconds=120, what="all status queries have failed")
    folder.joinpath("prepare").touch()
    until(
        lambda: "jobs wait to be submitted" in driver.said, seconds=120, what="the second job's submission has failed"
    )
    folder.joinpath("go").touch()
    cluster.start_controller()
    driver.wait(seconds=120)
    assert (attempts(folder), attempts(folder, "second-attempts")) == (1, 1)


def test_a_driver_can_be_stopped_while_jobs_wait_to_be_submitted(
    cluster: PrivateCluster, drive: Callable[..., Driver], folder: Path
) -> None:
    driver = drive(folder, "second")
    until(lambda: "rule prepare" in driver.said, seconds=120, what="the preparation runs")
    cluster.stop_controller()
    try:
        folder.joinpath("prepare").touch()
        until(lambda: "jobs wait to be submitted" in driver.said, seconds=120, what="the submission has failed")
        driver.process.send_signal(signal.SIGINT)
        assert driver.process.wait(timeout=60 * PATIENCE) != 0
    finally:
        cluster.start_controller()
    assert not folder.joinpath("second").exists()


def test_a_job_whose_submission_slurm_confirms_too_late_is_not_submitted_twice(
    cluster: PrivateCluster, drive: Callable[..., Driver], folder: Path
) -> None:
    driver = drive(folder, "second")
    until(lambda: "rule prepare" in driver.said, seconds=120, what="the preparation runs")
    controller = int(cluster.folder.joinpath("slurmctld.pid").read_text())
    os.kill(controller, signal.SIGSTOP)
    try:
        folder.joinpath("prepare").touch()
        until(lambda: "jobs wait to be submitted" in driver.said, seconds=120, what="sbatch has given up")
    finally:
        os.kill(controller, signal.SIGCONT)
    assert "has reached Slurm all the same" in driver.wait(seconds=120)
    assert attempts(folder, "second-attempts") == 1
