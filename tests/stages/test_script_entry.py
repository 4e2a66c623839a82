"""How a script's process runs its stage: threads, log and errors."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import logging
from types import SimpleNamespace
from lamflow.stages.entry import stage_process

def work(*, value):
    import os
    print("out", os.environ["OMP_NUM_THREADS"], os.environ["NPROC"], os.environ["NUMBA_NUM_THREADS"])
    os.write(2, b"from C\\n")
    if value == "warn":
        logging.getLogger("lamflow.somewhere").warning("the demonstrator is bad")
    if isinstance(value, Exception):
        raise value
    if value == "stopped":
        os.kill(os.getpid(), 2)

work.__module__ = "lamflow.stages.fake"
with stage_process(SimpleNamespace(rule="fake", threads=3, log={log!r})) as run:
    run(work, value={value})
print("back")
"""


def run(tmp_path: Path, *, value: str = "1", log: bool = True) -> subprocess.CompletedProcess[str]:
    logs = [str(tmp_path / "logs" / "job.log")] if log else []
    program = PROGRAM.format(log=logs, value=value)
    source = Path(__file__).parents[2] / "src"
    environment = os.environ | {"PYTHONPATH": str(source)}
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)


def test_output_of_python_and_of_libraries_goes_to_the_log_and_threads_are_the_rules(tmp_path: Path) -> None:
    result = run(tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "back\n", "")
    assert sorted(tmp_path.joinpath("logs", "job.log").read_text().splitlines()) == ["from C", "out 3 3 3"]


def test_without_a_log_output_goes_to_the_terminal(tmp_path: Path) -> None:
    result = run(tmp_path, log=False)
    assert (result.stdout, result.stderr) == ("out 3 3 3\nback\n", "from C\n")


def test_a_failure_shows_its_message_logs_its_traceback_and_exits_with_1(tmp_path: Path) -> None:
    result = run(tmp_path, value="ValueError('train.zarr: truncated')")
    assert (result.returncode, result.stdout, result.stderr) == (1, "", "fake: train.zarr: truncated\n")
    log = tmp_path.joinpath("logs", "job.log").read_text()
    assert "Traceback" in log and "ValueError: train.zarr: truncated" in log


def test_a_failure_that_was_not_foreseen_shows_its_type(tmp_path: Path) -> None:
    assert run(tmp_path, value="KeyError('codes')").stderr == "fake: KeyError: 'codes'\n"


@pytest.mark.usefixtures("signals_are_heard")
def test_a_stage_that_is_stopped_says_so_in_a_line_and_exits_with_75(tmp_path: Path) -> None:
    result = run(tmp_path, value="'stopped'")
    line = "stopped by SIGINT; nothing half-made is left as a result: run the same command again\n"
    assert (result.returncode, result.stdout, result.stderr) == (75, "", f"fake: {line}")
    log = tmp_path.joinpath("logs", "job.log").read_text()
    assert log.endswith(line) and "Traceback" not in log


def test_warnings_are_shown_on_the_terminal_and_in_the_log(tmp_path: Path) -> None:
    result = run(tmp_path, value="'warn'")
    assert (result.returncode, result.stderr) == (0, "fake: warning: the demonstrator is bad\n")
    assert "the demonstrator is bad" in tmp_path.joinpath("logs", "job.log").read_text()
