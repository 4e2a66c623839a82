"""What has become of jobs on Slurm, from what squeue and the accounting say of them."""

import os
from pathlib import Path

import pytest

from lamflow.runs.slurm_fates import Fate, Fates, are_written, returning_states
from lamflow.runs.slurm_queue import QueuedJob

REQUEUED = returning_states(requeue=False, no_requeue=False)
NEVER_REQUEUED = returning_states(requeue=False, no_requeue=True)


def listed(state: str, reason: str = "None") -> dict[str, QueuedJob]:
    return {"7": QueuedJob("7", state, "lamflow_1", reason, "n1", Path(), "")}


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "COMPLETING", "SUSPENDED", "REQUEUED", "A_STATE_OF_TOMORROW"])
def test_a_job_that_has_not_ended_is_waited_for_without_end(state: str) -> None:
    fates = Fates(60, NEVER_REQUEUED)
    assert [fates.of("7", listed(state), {}, now) for now in (0, 61, 1e6)] == [None, None, None]


def test_a_job_that_has_ended_has_its_fate_at_once() -> None:
    fates = Fates(60, REQUEUED)
    done, failed = fates.of("7", listed("COMPLETED"), {}, 0), fates.of("7", listed("TIMEOUT", "TimeLimit"), {}, 0)
    assert done and done.is_success
    assert failed and not failed.is_success
    assert failed.message("7") == "SLURM-job '7' failed, SLURM status is: 'TIMEOUT'. Reason: TimeLimit. "


def test_a_job_that_may_return_is_waited_for_a_while() -> None:
    fates = Fates(60, REQUEUED)
    assert fates.of("7", listed("PREEMPTED"), {}, 0) is None
    assert fates.of("7", listed("PENDING"), {}, 59) is None
    assert fates.of("7", listed("PREEMPTED"), {}, 61) is None, "it had returned"
    assert fates.of("7", listed("PREEMPTED"), {}, 121) == Fate("PREEMPTED", "None")


def test_what_slurm_was_told_not_to_requeue_does_not_return() -> None:
    fate = Fates(60, NEVER_REQUEUED).of("7", listed("PREEMPTED"), {}, 0)
    assert fate and fate.message("7") == "SLURM-job '7' is PREEMPTED. "


def test_only_with_requeueing_asked_for_a_job_returns_from_a_dead_node() -> None:
    assert Fates(60, REQUEUED).of("7", listed("NODE_FAIL"), {}, 0) == Fate("NODE_FAIL", "None")
    assert Fates(60, returning_states(requeue=True, no_requeue=False)).of("7", listed("NODE_FAIL"), {}, 0) is None


def test_a_job_that_slurm_lists_no_longer_is_given_up_after_a_while() -> None:
    fates = Fates(60, NEVER_REQUEUED)
    assert [fates.of("7", {}, {}, now) for now in (0, 59)] == [None, None]
    fate = fates.of("7", {}, {}, 60)
    assert fate == Fate(None)
    assert fate.message("7") == "SLURM-job '7' is no longer known to Slurm, and its outputs are not there. "


def test_the_accounting_tells_of_a_job_that_squeue_lists_no_longer() -> None:
    fates = Fates(60, NEVER_REQUEUED)
    assert fates.of("7", {}, {"7": "OUT_OF_MEMORY"}, 0) == Fate("OUT_OF_MEMORY")
    assert fates.of("7", listed("RUNNING"), {"7": "FAILED"}, 0) is None, "squeue knows better"


def test_outputs_of_an_earlier_run_are_not_those_of_a_job(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for path, time in ((old, 100), (new, 300)):
        path.touch()
        os.utime(path, (time, time))
    assert are_written([new], since=200)
    assert not are_written([old, new], since=200)
    assert not are_written([new, tmp_path / "absent"], since=200)
    assert not are_written([], since=200)
