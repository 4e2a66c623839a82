"""Jobs of a killed driver, as `end_orphans` finds and ends them; here they only sleep."""

import shlex
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from driving import driver_environment, started
from private_cluster import PrivateCluster, until

from lamflow.runs.slurm_queue import SlurmUnreachable, jobs_of_folder

TAKE_OVER = """
import os, sys
from pathlib import Path
from lamflow.runs.driver import end_orphans
ended = end_orphans(Path(sys.argv[1]), slurm_job=os.environ.get("SLURM_JOB_ID"), patience=float(sys.argv[2]))
Path(sys.argv[1], "ended").write_text(" ".join(job.job_id for job in ended))
"""
pytestmark = pytest.mark.usefixtures("slurm_programs")
DEAF = "trap '' TERM; touch deaf; sleep 600 & wait; sleep 600"


@pytest.fixture(scope="module")
def cluster(slurm_programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateCluster]:
    """One that does not wait long for jobs that do not want to end."""
    with started(tmp_path_factory.mktemp("slurm"), settings={"KillWait": 4}) as running:
        yield running


@pytest.fixture
def submit(cluster: PrivateCluster) -> Iterator[Callable[..., str]]:
    """Submits a shell command from a folder under a name and returns the job's id."""

    def sbatch(folder: Path, name: str, command: str = "sleep 600") -> str:
        options = ("--parsable", f"--job-name={name}", f"--chdir={folder}", "--output=/dev/null", "--mem=50")
        return cluster.command("sbatch", *options, f"--wrap={command}").strip()

    yield sbatch
    cluster.command("scancel", "--me", "--full", "--signal=KILL")
    cluster.command("scancel", "--me")
    until(lambda: not cluster.command("squeue", "--me", "--noheader"), seconds=60, what="no job is left")


def state_of(cluster: PrivateCluster, job: str) -> str:
    return cluster.command("squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T").strip()


def take_over(cluster: PrivateCluster, folder: Path, *, patience: int = 60) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", TAKE_OVER, str(folder), str(patience)]
    return subprocess.run(command, env=driver_environment(cluster), capture_output=True, text=True, check=False)


def workflow_name() -> str:
    return f"lamflow_{uuid.uuid4()}"


def test_orphans_are_ended_and_all_else_is_left_alone(
    cluster: PrivateCluster, submit: Callable[..., str], tmp_path: Path
) -> None:
    folder, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    orphans = [submit(folder, workflow_name()) for _ in range(2)]
    waiting = submit(folder, workflow_name(), "sleep 600")
    by_hand, of_another_run = submit(folder, "notebook"), submit(elsewhere, workflow_name())
    result = take_over(cluster, folder)
    assert result.returncode == 0, result.stderr
    assert "3 Slurm jobs of an earlier run, whose driver was killed" in result.stderr
    assert set(folder.joinpath("ended").read_text().split()) == {*orphans, waiting}
    assert {state_of(cluster, job) for job in (*orphans, waiting)} == {"CANCELLED"}
    assert {state_of(cluster, job) for job in (by_hand, of_another_run)} <= {"RUNNING", "PENDING"}


def test_a_driver_that_is_a_job_itself_does_not_end_itself(
    cluster: PrivateCluster, submit: Callable[..., str], tmp_path: Path
) -> None:
    orphan = submit(tmp_path, workflow_name())
    script = tmp_path / "driver.py"
    script.write_text(TAKE_OVER)
    driver = submit(tmp_path, workflow_name(), shlex.join([sys.executable, str(script), str(tmp_path), "60"]))
    until(tmp_path.joinpath("ended").exists, seconds=60, what="the driver's end")
    assert tmp_path.joinpath("ended").read_text() == orphan
    until(lambda: state_of(cluster, driver) == "COMPLETED", seconds=30, what="the driver is a completed job")


def test_an_orphan_that_does_not_end_stops_the_new_run(
    cluster: PrivateCluster, submit: Callable[..., str], tmp_path: Path
) -> None:
    job = submit(tmp_path, workflow_name(), DEAF)
    until(tmp_path.joinpath("deaf").exists, seconds=60, what="the job hears no signal")
    result = take_over(cluster, tmp_path, patience=3)
    assert result.returncode != 0
    assert f"have not ended 3 s after they were cancelled: {job} (" in result.stderr


def test_an_unreachable_slurm_is_not_taken_for_an_empty_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = tmp_path / "slurm.conf"
    nowhere.write_text("ClusterName=nowhere\nSlurmctldHost=localhost(127.0.0.1)\nSlurmctldPort=1\nMessageTimeout=2\n")
    monkeypatch.setenv("SLURM_CONF", str(nowhere))
    with pytest.raises(SlurmUnreachable, match="squeue: "):
        jobs_of_folder(tmp_path)
