"""The events of a run: its driver notes them beside the plan, a line of JSON each, and whoever looks at the run reads them there.

They are what Snakemake tells its logger plugins of jobs (``note_record``), what the executor plugin `lamflow` submits to Slurm, and that
the run is being stopped or has ended. The reader passes over lines that it does not know.
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

from lamflow.runs.plan import RunJob

FOLDER = "events"
"""In an experiment's results; a file per run."""
COMPLETED_WITHOUT_OUTPUTS = re.compile(r"\bJob (\d+)\s+completed successfully")
"""Of the message of Snakemake's MissingOutputException, which has the number of its job nowhere else."""
NOT_ALL_OUTPUTS = "it succeeded, but not all of its output files are there"


# Written by the driver ------------------------------------------------------------------------------------------------


class EventFile:
    """Takes events at the end of a file. OSError as of files that are opened.

    A line goes out in one write, so threads and signal handlers may note events at any time.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        self._told = False

    def note(self, event: str, **facts: object) -> None:
        """Add an event. A full disk must not end a run: it is said, once."""
        line = json.dumps({"time": round(time.time(), 3), "event": event} | facts)
        try:
            self._file.write(f"{line}\n".encode())
        except OSError as error:
            if not self._told:
                self._told = True
                print(f"{self._file.name}: events of this run are lost to the progress table: {error}", file=sys.stderr)


_of_this_process: EventFile | None = None


def begin(results: Path) -> Path:
    """Take the events of the run that this process drives to a file under ``results``, and return its path. OSError as of files."""
    global _of_this_process
    path = results / FOLDER / f"{datetime.now():%Y%m%dT%H%M%S}-{os.getpid()}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    _of_this_process = EventFile(path)
    note("began", pid=os.getpid(), host=socket.gethostname())
    return path


def note(event: str, **facts: object) -> None:
    """Add an event of the run that this process drives; nothing happens before ``begin``."""
    if _of_this_process is not None:
        _of_this_process.note(event, **facts)


def note_record(record: logging.LogRecord) -> None:
    """Add what a record of Snakemake's logger tells of a job; others are passed over."""
    facts = vars(record)
    match facts.get("event"):
        case "job_info":
            wildcards = {name: str(value) for name, value in facts["wildcards"].items()}
            note("started", job=facts["jobid"], rule=facts["rule_name"], wildcards=wildcards)
        case "job_finished":
            note("finished", job=facts["job_id"])
        case "job_error":
            message = (facts["rule_msg"] or "").partition("\n")[0]
            note(
                "failed",
                job=facts["jobid"],
                message=message,
                exit_status=facts.get("exit_status"),
                slurm_state=facts["aux"].get("slurm_state"),
                logs=facts["log"],
            )
        case "error" if facts["exception"] == "MissingOutputException":
            if found := COMPLETED_WITHOUT_OUTPUTS.search(record.getMessage()):
                note("failed", job=int(found[1]), message=NOT_ALL_OUTPUTS)


# Read by others -------------------------------------------------------------------------------------------------------


class Event(Enum):
    """The last thing that is known of a job."""

    STARTED = "started"
    FINISHED = "finished"
    FAILED = "failed"
    RESTARTED = "restarted"


@dataclass
class Failure:
    """A failed attempt: ``message`` is Snakemake's, or the status with which a local job exited; ``logs`` may exist; ``slurm_state`` is
    the state in which its Slurm job ended."""

    message: str = ""
    logs: list[Path] = field(default_factory=list)
    slurm_state: str | None = None


@dataclass
class JobEvents:
    """What is known of one job."""

    last: Event | None = None
    failures: list[Failure] = field(default_factory=list)


@dataclass
class Submission:
    """A Slurm job."""

    slurm_id: str
    log: Path


@dataclass
class RunEvents:
    """All of it; ``submissions`` by the names that jobs are submitted under, the last one of each."""

    jobs: dict[int, JobEvents] = field(default_factory=lambda: defaultdict(JobEvents))
    submissions: dict[str, Submission] = field(default_factory=dict)
    stopping: bool = False
    """Whether somebody asked Snakemake to stop."""
    ended: bool = False
    """Whether Snakemake came to its end, well or with failures."""


def read_events(path: Path, jobs: Iterable[RunJob]) -> RunEvents | None:
    """Read the events of a run of the planned ``jobs``; None when they cannot be read."""
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            return parse_events(lines, jobs)
    except OSError:
        return None


def parse_events(lines: Iterable[str], jobs: Iterable[RunJob]) -> RunEvents:
    """As ``read_events``. Snakemake has no event for a job that it tries again: it does as long as the job has attempts left."""
    found, planned = RunEvents(), {job.id: job for job in jobs}
    for line in lines:
        try:
            facts = json.loads(line)
            _take(facts["event"], facts, found, planned)
        except (ValueError, KeyError, TypeError):
            continue
    return found


def _take(event: str, facts: dict[str, Any], found: RunEvents, planned: dict[int, RunJob]) -> None:
    match event:
        case "started":
            found.submissions.pop(planned[facts["job"]].submitted_as, None)
            found.jobs[facts["job"]].last = Event.STARTED
        case "submitted":
            found.submissions[facts["job"]] = Submission(facts["slurm_id"], Path(facts["log"]))
        case "finished":
            found.jobs[planned[facts["job"]].id].last = Event.FINISHED
        case "failed":
            job, known = planned[facts["job"]], found.jobs[facts["job"]]
            known.failures.append(_failure(facts))
            known.last = Event.RESTARTED if len(known.failures) < job.attempts else Event.FAILED
        case "stopping":
            found.stopping = True
        case "ended":
            found.ended = True


def _failure(facts: dict[str, Any]) -> Failure:
    status = facts.get("exit_status")
    message = facts["message"] or ("" if status is None else f"exit status {status}")
    return Failure(message, [Path(log) for log in facts.get("logs", [])], facts.get("slurm_state"))
