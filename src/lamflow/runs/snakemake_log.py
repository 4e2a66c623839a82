"""What Snakemake's log says of a run: jobs handed out, submitted, finished and failed. Lines that it does not know it passes over."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

STARTED = re.compile(r"^\s*Job (\d+): ")
SUBMITTED = re.compile(r"^Job (\S+) has been submitted with SLURM jobid (\S+) \(log: (.*)\)\.$")
FINISHED = re.compile(r"^Finished jobid: (\d+) \(Rule: ")
INCOMPLETE = re.compile(r"^\s*Job (\d+) completed successfully, but some output files are missing")
RESTARTED = re.compile(r"^Trying to restart job (\S+)\.$")
EXIT_STATUS = re.compile(r"returned non-zero exit status (\d+)\.$")
ERROR = re.compile(r"^\s*Error in rule \S+:$")
DETAIL = re.compile(r"^\s{4,}(message|jobid|log): (.*)$")
SLURM_STATE = re.compile(r"SLURM status is:\s+'(\w+)'")
STOPPING = re.compile(r"^(Terminating processes on user request|Will exit after finishing currently running jobs)")
ENDED = re.compile(r"^Complete log\(s\): ")


class Event(Enum):
    """The last thing that the log says of a job."""

    STARTED = "started"
    FINISHED = "finished"
    FAILED = "failed"
    RESTARTED = "restarted"


@dataclass
class Failure:
    """A failed attempt: ``message`` is Snakemake's, or the status with which a local job exited; ``logs`` may exist."""

    message: str = ""
    logs: list[Path] = field(default_factory=list)

    @property
    def slurm_state(self) -> str | None:
        """The state in which its Slurm job ended, where the message tells."""
        found = SLURM_STATE.search(self.message)
        return found[1] if found else None


@dataclass
class LoggedJob:
    """What the log says of one job; the Slurm job is that of its last attempt."""

    last: Event | None = None
    failures: list[Failure] = field(default_factory=list)


@dataclass
class Submission:
    """A Slurm job."""

    slurm_id: str
    log: Path


@dataclass
class RunLog:
    """All of it; ``submissions`` by the names that jobs are submitted under, the last one of each."""

    jobs: dict[int, LoggedJob] = field(default_factory=lambda: defaultdict(LoggedJob))
    submissions: dict[str, Submission] = field(default_factory=dict)
    stopping: bool = False
    """Whether somebody asked Snakemake to stop."""
    ended: bool = False
    """Whether Snakemake came to its end, well or with failures."""


def read_log(path: Path, names: dict[int, str]) -> RunLog:
    """Read the log of snakemake 9.27; one that cannot be read says nothing. ``names`` are what jobs are submitted as, by number."""
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            return parse_log(lines, names)
    except OSError:
        return RunLog()


def parse_log(lines: Iterable[str], names: dict[int, str]) -> RunLog:
    """As ``read_log``."""
    reader = _Reader(names)
    for line in lines:
        reader.read(line.rstrip("\n"))
    return reader.found


class _Reader:
    """Reads line by line; ``_error`` is the block of a failed job that is being read."""

    def __init__(self, names: dict[int, str]) -> None:
        self.found = RunLog()
        self._names = names
        self._members: dict[str, list[int]] = defaultdict(list)
        for number, name in names.items():
            self._members[name].append(number)
        self._exit_status = ""
        self._error: Failure | None = None
        self._readers: list[tuple[re.Pattern[str], Callable[[re.Match[str]], None]]] = [
            (ERROR, self._error_begins),
            (STARTED, self._started),
            (SUBMITTED, self._submitted),
            (FINISHED, self._finished),
            (INCOMPLETE, self._incomplete),
            (RESTARTED, self._restarted),
            (EXIT_STATUS, self._exited),
            (STOPPING, self._stops),
            (ENDED, self._ended),
        ]

    def read(self, line: str) -> None:
        if self._error is not None and (detail := DETAIL.match(line)):
            self._error_detail(self._error, detail[1], detail[2])
            return
        if not line.startswith(" "):
            self._error = None
        for pattern, reader in self._readers:
            if match := pattern.search(line):
                reader(match)
                return

    def _error_begins(self, _: re.Match[str]) -> None:
        self._error, self._exit_status = Failure(self._exit_status), ""

    def _error_detail(self, error: Failure, name: str, value: str) -> None:
        if name == "jobid" and value.isdigit():
            self._failed(int(value), error)
        elif name == "message" and value != "None":
            error.message = value
        elif name == "log":
            error.logs = [Path(log) for log in value.partition(" (check log file")[0].split(", ")]

    def _failed(self, number: int, failure: Failure) -> None:
        job = self.found.jobs[number]
        job.last = Event.FAILED
        job.failures.append(failure)

    def _started(self, match: re.Match[str]) -> None:
        number = int(match[1])
        self.found.jobs[number].last = Event.STARTED
        self.found.submissions.pop(self._names.get(number, ""), None)

    def _submitted(self, match: re.Match[str]) -> None:
        self.found.submissions[match[1]] = Submission(match[2], Path(match[3]))

    def _finished(self, match: re.Match[str]) -> None:
        self.found.jobs[int(match[1])].last = Event.FINISHED

    def _incomplete(self, match: re.Match[str]) -> None:
        self._failed(int(match[1]), Failure("it succeeded, but not all of its output files are there"))

    def _restarted(self, match: re.Match[str]) -> None:
        for number in self._members.get(match[1], []):
            self.found.jobs[number].last = Event.RESTARTED

    def _exited(self, match: re.Match[str]) -> None:
        self._exit_status = f"exit status {match[1]}"

    def _stops(self, _: re.Match[str]) -> None:
        self.found.stopping = True

    def _ended(self, _: re.Match[str]) -> None:
        self.found.ended = True
