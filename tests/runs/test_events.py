"""The events of a run: what a driver notes of Snakemake's records, and what is read of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from snakemake.exceptions import MissingOutputException
from snakemake_interface_logger_plugins.common import LogEvent

from lamflow.runs.events import (
    Event,
    EventFile,
    RunEvents,
    begin,
    note,
    note_record,
    parse_events,
    read_events,
)
from lamflow.runs.plan import RunJob

GROUP = "5b0591af-5d09-577e-bc49-9e8169ae7f75"
TRAINING_LOG = "results/tiny/logs/train_lam/xland-r1-9x9/lapo/seed0.log"


def job(number: int, *, submitted_as: str | None = None, attempts: int = 1) -> RunJob:
    return RunJob(
        id=number,
        rule="train_lam",
        wildcards={},
        outputs=[f"{number}"],
        log=None,
        needed=True,
        local=submitted_as is None,
        attempts=attempts,
        submitted_as=submitted_as or str(number),
        needs=[],
    )


LOCAL = [job(0), job(1)]
RETRIED = [job(0, attempts=2), job(1, attempts=2)]
CLUSTER = [job(0, submitted_as=GROUP, attempts=2), job(1, submitted_as=GROUP, attempts=2), job(5, attempts=2)]


@pytest.fixture
def noted(tmp_path: Path) -> Callable[[Sequence[RunJob]], RunEvents]:
    """What is read of that which the test has noted."""
    path = begin(tmp_path / "results" / "tiny")

    def read(jobs: Sequence[RunJob]) -> RunEvents:
        found = read_events(path, jobs)
        assert found is not None
        return found

    return read


def started(number: int) -> None:
    wildcards = {"experiment": "tiny", "env": "xland-r1-9x9"}
    record(LogEvent.JOB_INFO, jobid=number, rule_name="train_lam", wildcards=wildcards, rule_msg="Latent action model")


def finished(number: int) -> None:
    record(LogEvent.JOB_FINISHED, job_id=number)


def failed(number: int, *, message: str | None = None, log: Sequence[str] = (), **facts: Any) -> None:
    aux = {name: facts.pop(name) for name in ("external_jobid", "slurm_state") if name in facts}
    record(LogEvent.JOB_ERROR, jobid=number, rule_msg=message, log=list(log), aux=aux, **facts)


def record(event: LogEvent | None, message: str | None = None, **facts: Any) -> None:
    note_record(logging.makeLogRecord({"msg": message, "event": event, **facts}))


def run_locally() -> None:
    record(None, "Select jobs to execute...")
    started(1)
    finished(1)
    record(LogEvent.PROGRESS, done=2, total=6)
    started(0)
    failed(0, log=[TRAINING_LOG], exit_status=1)


def submit() -> None:
    started(0)
    started(1)
    started(5)
    note("submitted", job="5", slurm_id="3", log="/run/logs/slurm/3.log")
    note("submitted", job=GROUP, slurm_id="4", log="/run/logs/slurm/group_chain/4.log")


def fail_on_slurm() -> None:
    message = (
        "SLURM-job '3' failed, SLURM status is: 'CANCELLED'. For further error details see the cluster/cloud log\nmore"
    )
    logs = ["results/tiny/logs/collect_episodes/validation.log", "/run/logs/slurm/3.log"]
    failed(5, message=message, log=logs, external_jobid="3", slurm_state="CANCELLED")
    record(LogEvent.GROUP_ERROR, groupid=GROUP, aux_logs=["/run/logs/slurm/group_chain/4.log"], job_error_info=[])
    failed(0, log=["results/tiny/logs/relabel_episodes/xland-r1-9x9/lapo/seed0/train.log"])
    failed(1, log=[TRAINING_LOG])


def last_events(found: RunEvents) -> dict[int, Event | None]:
    return {number: known.last for number, known in found.jobs.items()}


def test_local_jobs_start_finish_and_fail_with_an_exit_status(noted: Callable[..., RunEvents]) -> None:
    run_locally()
    found = noted(LOCAL)
    assert last_events(found) == {0: Event.FAILED, 1: Event.FINISHED}
    (failure,) = found.jobs[0].failures
    assert failure.message == "exit status 1"
    assert failure.logs == [Path(TRAINING_LOG)]
    assert not found.ended


def test_a_retried_job_keeps_its_failures(noted: Callable[..., RunEvents]) -> None:
    run_locally()
    assert last_events(noted(RETRIED))[0] is Event.RESTARTED
    run_locally()
    note("ended")
    found = noted(RETRIED)
    assert last_events(found)[0] is Event.FAILED
    assert len(found.jobs[0].failures) == 2
    assert found.ended


def test_slurm_jobs_are_known_by_the_names_that_they_are_submitted_under(noted: Callable[..., RunEvents]) -> None:
    submit()
    found = noted(CLUSTER)
    assert {name: submission.slurm_id for name, submission in found.submissions.items()} == {"5": "3", GROUP: "4"}
    assert found.submissions[GROUP].log == Path("/run/logs/slurm/group_chain/4.log")
    assert set(last_events(found).values()) == {Event.STARTED}


def test_a_failed_group_fails_all_of_its_jobs(noted: Callable[..., RunEvents]) -> None:
    submit()
    fail_on_slurm()
    found = noted(CLUSTER)
    assert last_events(found) == dict.fromkeys((0, 1, 5), Event.RESTARTED)
    assert found.jobs[5].failures[0].slurm_state == "CANCELLED"
    assert found.jobs[5].failures[0].message.endswith("see the cluster/cloud log")
    assert [str(path.name) for path in found.jobs[5].failures[0].logs] == ["validation.log", "3.log"]
    assert [len(found.jobs[number].failures) for number in (0, 1)] == [1, 1]


def test_a_job_that_starts_again_is_no_longer_the_slurm_job_it_was(noted: Callable[..., RunEvents]) -> None:
    submit()
    fail_on_slurm()
    started(5)
    assert "5" not in noted(CLUSTER).submissions


def test_missing_outputs_fail_a_job(noted: Callable[..., RunEvents]) -> None:
    error = MissingOutputException("Missing files after 5 seconds.", jobid=1)
    record(LogEvent.ERROR, f"MissingOutputException in rule train_lam:\n{error}", exception=type(error).__name__)
    assert last_events(noted(LOCAL)) == {1: Event.FAILED}


def test_a_run_says_that_it_is_stopped(noted: Callable[..., RunEvents]) -> None:
    assert not noted(LOCAL).stopping
    note("stopping")
    assert noted(LOCAL).stopping


def test_the_driver_stands_at_the_beginning_and_every_event_has_its_time(
    noted: Callable[..., RunEvents], tmp_path: Path
) -> None:
    started(0)
    (path,) = tmp_path.glob("results/tiny/events/*.jsonl")
    first, second = map(json.loads, path.read_text().splitlines())
    assert first.keys() == {"time", "event", "pid", "host"}
    assert (second["event"], second["rule"], second["wildcards"]["env"]) == ("started", "train_lam", "xland-r1-9x9")
    assert second["time"] >= first["time"]


def test_unknown_lines_and_missing_events_say_nothing(tmp_path: Path) -> None:
    lines = [
        "",
        "{",
        "[]",
        "1",
        '{"event": "started"}',
        '{"event": "failed", "job": "x"}',
        '{"event": "finished", "job": 77}',
    ]
    lines += [
        '{"event": "started", "job": []}',
        '{"event": "tomorrow", "job": 0}',
        '{"event": "failed", "job": 0}',
        "\x00\xff",
    ]
    garbled = parse_events([f"{line}\n" for line in lines], LOCAL)
    assert not any(known.last for known in garbled.jobs.values()) and not garbled.submissions
    assert read_events(tmp_path / "absent.jsonl", LOCAL) is None


def test_a_full_disk_ends_no_run_and_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    full = EventFile(Path("/dev/full"))
    full.note("started", job=0)
    full.note("started", job=1)
    assert (
        capsys.readouterr().err.count("/dev/full: events of this run are lost to the progress table: [Errno 28]") == 1
    )
