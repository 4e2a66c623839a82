"""What Slurm's commands say, by stand-ins for them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lamflow.runs.slurm_queue import SEPARATOR, SlurmUnreachable, accounted_ends, is_unanswered, jobs_of_folder

StandIn = Callable[[str, str], Path]


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Puts a shell script in the place of a command, and of all others; it returns the file that takes its arguments."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    tmp_path.joinpath("bin").mkdir()

    def write(name: str, script: str) -> Path:
        command, arguments = tmp_path / "bin" / name, tmp_path / f"{name}.arguments"
        command.write_text(f'#!/bin/sh\necho "$@" >> {arguments}\n{script}\n')
        command.chmod(0o755)
        return arguments

    return write


def test_the_accounting_tells_of_ended_jobs_alone(stand_in: StandIn) -> None:
    asked = stand_in("sacct", "printf '7|CANCELLED by 0\\n8|RUNNING\\n9|COMPLETED\\n10|\\nnonsense\\n'")
    assert accounted_ends({"7", "8", "9", "10"}) == {"7": "CANCELLED", "9": "COMPLETED"}
    assert "--allocations" in asked.read_text()


def test_without_accounting_nothing_is_told(stand_in: StandIn) -> None:
    stand_in("sacct", "echo 'Slurm accounting storage is disabled' >&2; exit 1")
    assert accounted_ends({"7"}) == {}


def test_no_job_is_not_asked_for(stand_in: StandIn) -> None:
    asked = stand_in("sacct", "")
    assert accounted_ends(set()) == {}
    assert not asked.exists()


def test_tasks_of_arrays_are_listed_one_by_one(stand_in: StandIn, tmp_path: Path) -> None:
    line = SEPARATOR.join(["12_3", "PENDING", "lamflow_1", "Priority", "", str(tmp_path), "rule_all"])
    asked = stand_in("squeue", f"echo '{line}'")
    assert [job.job_id for job in jobs_of_folder(tmp_path)] == ["12_3"]
    assert "--array" in asked.read_text().split()


def test_a_command_that_got_no_answer_says_so(stand_in: StandIn, tmp_path: Path) -> None:
    said = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
    stand_in("squeue", f"echo '{said}' >&2; exit 1")
    with pytest.raises(SlurmUnreachable, match="Unable to contact slurm controller") as caught:
        jobs_of_folder(tmp_path)
    assert is_unanswered(str(caught.value))
    assert not is_unanswered("sbatch: error: invalid partition specified: nowhere")
