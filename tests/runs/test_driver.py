"""One driver a folder, and none before what the last one left on this machine has ended."""

import errno
import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from lamflow.runs import driver
from lamflow.runs.driver import (
    JOB_NAME,
    LOCK,
    SNAKEMAKE_LOCKS,
    clear_stale_locks,
    end_local_orphans,
    shows_life,
    take_folder,
)

HOLD = """
import sys
from pathlib import Path
from lamflow.runs.driver import take_folder
take_folder(Path(sys.argv[1]), slurm_job="7")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of `tmp_path`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_second_driver_is_refused_and_told_who_the_first_is(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(ValueError, match=rf"another run is going on in this folder, process {holder.pid} on .*job 7"):
        take_folder(tmp_path)


def test_a_killed_driver_holds_nothing(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    take_folder(tmp_path).close()


def write_snakemakes_lock(folder: Path) -> Path:
    lock = folder / SNAKEMAKE_LOCKS / "0.output.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_text("results/tiny/report.html\n")
    return lock


def test_snakemakes_lock_outlives_a_killed_driver_and_is_cleared(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    lock = write_snakemakes_lock(tmp_path)
    holder.kill()
    holder.wait()
    clear_stale_locks(tmp_path)
    assert not lock.exists() and lock.parent.is_dir()


def test_snakemakes_lock_stays_while_a_driver_lives(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    lock = write_snakemakes_lock(tmp_path)
    clear_stale_locks(tmp_path)
    assert lock.exists() and holder.poll() is None


def test_looking_for_stale_locks_holds_nothing(tmp_path: Path) -> None:
    clear_stale_locks(tmp_path)
    assert list(tmp_path.iterdir()) == []
    write_snakemakes_lock(tmp_path)
    clear_stale_locks(tmp_path)
    assert tmp_path.joinpath(LOCK).read_text() == ""


def test_the_lock_names_its_latest_holder(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    lock = take_folder(tmp_path)
    content = json.loads(tmp_path.joinpath(LOCK).read_text())
    lock.close()
    assert (content["pid"], content["slurm_job"]) == (os.getpid(), None)


def test_other_folders_are_free(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    assert holder.poll() is None
    take_folder(tmp_path / "other").close()


def test_jobs_of_a_driver_do_not_hold_its_lock(tmp_path: Path) -> None:
    lock = take_folder(tmp_path)
    job = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    lock.close()
    take_folder(tmp_path).close()
    job.kill()
    job.wait()


@pytest.fixture
def without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)


def write_holder(folder: Path, *, host: str, pid: int, silent: float) -> None:
    """The trace of another driver, ``silent`` seconds after its last sign of life."""
    path = folder / LOCK
    path.parent.mkdir()
    path.write_text(json.dumps({"pid": pid, "host": host, "slurm_job": None, "started": "yesterday"}))
    os.utime(path, (time.time() - silent,) * 2)


def test_a_file_system_without_locks_is_no_obstacle(tmp_path: Path, without_locks: None) -> None:
    take_folder(tmp_path).close()


def test_a_driver_of_another_host_is_believed_alive_while_it_shows_life(tmp_path: Path) -> None:
    write_holder(tmp_path, host="login2", pid=1, silent=60)
    with pytest.raises(ValueError, match=r"process 1 on login2, since yesterday.* it showed life 6\d s ago"):
        take_folder(tmp_path)


def test_a_driver_of_another_host_that_is_silent_is_dead(tmp_path: Path) -> None:
    write_holder(tmp_path, host="login2", pid=1, silent=130)
    take_folder(tmp_path).close()


def test_without_locks_a_living_process_of_this_host_counts(tmp_path: Path, without_locks: None) -> None:
    write_holder(tmp_path, host=socket.gethostname(), pid=os.getppid(), silent=1)
    with pytest.raises(ValueError, match="another run is going on"):
        take_folder(tmp_path)


def test_a_driver_that_ended_in_order_leaves_no_sign(tmp_path: Path) -> None:
    hold = HOLD.replace("sys.stdin.read()", "")
    subprocess.run([sys.executable, "-c", hold, str(tmp_path)], check=True, capture_output=True)
    assert tmp_path.joinpath(LOCK).read_text() == ""


def test_a_driver_shows_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "SIGN_SECONDS", 0.05)
    lock = take_folder(tmp_path)
    os.utime(tmp_path / LOCK, (0, 0))
    deadline = time.monotonic() + 10
    while tmp_path.joinpath(LOCK).stat().st_mtime == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    lock.close()
    assert time.time() - tmp_path.joinpath(LOCK).stat().st_mtime < 60


def test_a_driver_of_another_host_shows_life_or_not(tmp_path: Path) -> None:
    assert shows_life(tmp_path, pid=1, host="login2") is None
    write_holder(tmp_path, host="login2", pid=1, silent=60)
    assert shows_life(tmp_path, pid=1, host="login2") is True
    assert shows_life(tmp_path, pid=1, host="login3") is False
    tmp_path.joinpath(LOCK).write_text("{")
    assert shows_life(tmp_path, pid=1, host="login2") is None


@pytest.mark.parametrize(
    ("name", "submitted"),
    [
        ("lamflow_105bd42e-7f96-4ff5-9754-7efd641f273f", True),
        ("105bd42e-7f96-4ff5-9754-7efd641f273f", True),
        ("bash", False),
        ("lamflow", False),
        ("driver-105bd42e", False),
    ],
)
def test_jobs_that_people_submit_by_hand_are_told_from_the_workflows(name: str, submitted: bool) -> None:
    assert bool(JOB_NAME.search(name)) == submitted


@pytest.fixture
def stage_in(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a script where Snakemake puts those of its jobs in a folder; it runs until it is told to stop, or `deaf` on."""
    started: list[subprocess.Popen[str]] = []

    def start(name: str, *, deaf: bool = False, **variables: str) -> subprocess.Popen[str]:
        script = tmp_path / name / ".snakemake" / "scripts" / "tmp1.train_lam.py"
        script.parent.mkdir(parents=True, exist_ok=True)
        ignore = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" if deaf else ""
        script.write_text(f"{ignore}import sys\nprint('on', flush=True)\nsys.stdin.read()\n")
        command = [sys.executable, str(script)]
        environment = {name: value for name, value in os.environ.items() if name != "SLURM_JOB_ID"} | variables
        process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "on\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_stages_of_a_killed_driver_are_ended_and_no_others(
    tmp_path: Path, stage_in: Callable[..., subprocess.Popen[str]]
) -> None:
    orphan, elsewhere = stage_in("run"), stage_in("elsewhere")
    in_a_slurm_job = stage_in("run", SLURM_JOB_ID="12")
    assert end_local_orphans(tmp_path / "run") == [orphan.pid]
    assert not psutil.pid_exists(orphan.pid)
    assert (elsewhere.poll(), in_a_slurm_job.poll()) == (None, None)
    assert end_local_orphans(tmp_path / "run") == []


def test_a_stage_that_does_not_end_stops_the_new_run(
    tmp_path: Path, stage_in: Callable[..., subprocess.Popen[str]]
) -> None:
    orphan = stage_in("run", deaf=True)
    with pytest.raises(ValueError, match=rf"have not ended 0 s after they were asked to: {orphan.pid}\. End them"):
        end_local_orphans(tmp_path / "run", patience=0.3)
