"""How processes take the signals by which people, schedulers and terminals stop them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lamflow.training.interruption import KEYS, RETRY_EXIT_CODE, SIGNALS, stop_requests

pytestmark = pytest.mark.usefixtures("signals_are_heard")

JOB = """
import os, signal, sys, time
from contextlib import suppress
from pathlib import Path
from lamflow.atomic_files import atomic_path
from lamflow.training.interruption import *

def send(*names):
    for name in names:
        os.kill(os.getpid(), getattr(signal, name))

def work():
{work}

try:
    with stage_signals():
        work()
except StageInterrupted as error:
    print(error, flush=True)
    sys.exit(RETRY_EXIT_CODE)
finally:
    if {after!r}:
        send({after!r})
print("whole", flush=True)
"""

Job = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Runs a job that does ``work``, and gets a signal ``after`` it."""

    def run(work: str, *, after: str = "", through: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        body = "\n".join(f"    {line}" for line in work.splitlines())
        program = JOB.format(work=body, after=after)
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}
        command = [*through, sys.executable, "-c", program]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return run


WRITING = """with atomic_path(Path("result.txt")) as temporary:
    temporary.write_text("half")
    send({signals})
    time.sleep(10)"""


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_a_job_in_a_line_and_nothing_half_written_is_left(
    number: signal.Signals, job: Job, tmp_path: Path
) -> None:
    result = job(WRITING.format(signals=repr(number.name)))
    assert (result.returncode, result.stderr) == (RETRY_EXIT_CODE, "")
    assert result.stdout == (
        f"stopped by {number.name}; nothing half-made is left as a result: run the same command again\n"
    )
    assert not list(tmp_path.iterdir())


CLEANING = """try:
    send({first!r})
    time.sleep(10)
finally:
    send({second!r})
    print("cleaned", flush=True)"""


@pytest.mark.parametrize(("first", "second"), [("SIGTERM", "SIGTERM"), ("SIGINT", "SIGTERM"), ("SIGTERM", "SIGINT")])
def test_a_second_signal_does_not_disturb_the_clean_up(first: str, second: str, job: Job) -> None:
    result = job(CLEANING.format(first=first, second=second))
    assert result.returncode == RETRY_EXIT_CODE
    assert result.stdout.startswith(f"cleaned\nstopped by {first}")


@pytest.mark.parametrize("key", KEYS)
def test_a_second_key_ends_a_job_at_once(key: signal.Signals, job: Job) -> None:
    result = job(CLEANING.format(first=key.name, second=key.name))
    assert (result.returncode, result.stdout) == (-key, "")


def test_what_a_library_makes_of_the_interruption_is_still_one(job: Job) -> None:
    result = job(
        """try:
    send("SIGINT")
    time.sleep(10)
except BaseException as error:
    raise RuntimeError("callback failed") from error"""
    )
    assert result.returncode == RETRY_EXIT_CODE
    assert result.stdout.startswith("stopped by SIGINT")


def test_a_signal_after_the_work_does_not_lose_its_result(job: Job) -> None:
    result = job("pass", after="SIGTERM")
    assert (result.returncode, result.stdout) == (0, "whole\n")


def test_a_signal_too_late_for_one_training_stops_the_next_of_the_job(job: Job) -> None:
    result = job(
        """with stop_requests() as request:
    send("SIGTERM")
with stop_requests() as request:
    print(request.signal.name)"""
    )
    assert result.stdout == "SIGTERM\nwhole\n"


def test_a_run_under_nohup_outlives_its_terminal(job: Job) -> None:
    result = job("""send("SIGHUP")""", through=("nohup",))
    assert (result.returncode, result.stdout) == (0, "whole\n")


def test_in_a_notebook_the_second_interrupt_ends_a_training_at_once() -> None:
    reached = []
    with pytest.raises(KeyboardInterrupt), stop_requests() as request:
        os.kill(os.getpid(), signal.SIGINT)
        reached.append(request.signal)
        os.kill(os.getpid(), signal.SIGINT)
        reached.append("after the second")
    assert reached == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
