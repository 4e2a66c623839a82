"""Where each job of a run stands: from its plan and events, Snakemake's markers, its outputs, and Slurm's queue."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path

from lamflow.runs.driver import shows_life
from lamflow.runs.events import Event, JobEvents, RunEvents, Submission, read_events
from lamflow.runs.plan import Plan, RunJob
from lamflow.runs.slurm_queue import QueuedJob, SlurmUnreachable, has_slurm, jobs_of_folder

STARTING = frozenset({"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT"})
"""States of Slurm jobs that have not begun."""


class State(Enum):
    """Of a job; the values are what people read."""

    DONE = "done"
    RUNNING = "running"
    QUEUED = "queued"
    FAILED = "failed"
    WAITING = "waiting"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class JobStatus:
    """A job, its state, its events, and its Slurm job as far as there is one."""

    job: RunJob
    state: State
    events: JobEvents
    submission: Submission | None
    slurm: QueuedJob | None


@dataclass(frozen=True)
class RunStatus:
    """A run at one moment. ``alive`` is whether its driver lives, None where that cannot be known."""

    plan: Plan
    jobs: list[JobStatus]
    alive: bool | None
    stopping: bool
    """Whether somebody asked Snakemake to stop."""
    ended: bool
    """Whether Snakemake came to its end."""
    has_events: bool
    """Whether the driver's events could be read."""
    changed: datetime
    """When the driver last noted an event, or the start of the run when its events cannot be read."""
    queue: list[QueuedJob] | None
    """The folder's Slurm jobs; None when Slurm did not answer."""
    slurm_error: str

    def count(self, state: State) -> int:
        return sum(status.state is state for status in self.jobs)


def run_status(plan: Plan, list_jobs: Callable[[Path], list[QueuedJob]] = jobs_of_folder) -> RunStatus:
    """Look at everything once; what cannot be read is taken as absent. ``list_jobs`` asks Slurm for the jobs of a folder."""
    queue, slurm_error = _queue_of(plan, list_jobs)
    path = plan.folder / plan.events
    read = read_events(path, plan.jobs)
    events = read or RunEvents()
    alive = False if events.ended else _driver_lives(plan, queue)
    look = _Look(plan, events, queue, alive is not False, marked_incomplete(plan.folder, plan.started))
    return RunStatus(
        plan=plan,
        jobs=[look.status_of(job) for job in plan.jobs],
        alive=alive,
        stopping=events.stopping,
        ended=events.ended,
        has_events=read is not None,
        changed=_changed(path) or plan.started,
        queue=queue,
        slurm_error=slurm_error,
    )


def _queue_of(plan: Plan, list_jobs: Callable[[Path], list[QueuedJob]]) -> tuple[list[QueuedJob] | None, str]:
    """Slurm's jobs of the run and why they are not known. A run on one machine has none, and nobody is asked then."""
    if all(job.local for job in plan.jobs) and plan.driver.slurm_job is None:
        return [], ""
    if not has_slurm():
        return None, "this machine has no Slurm commands; look from a login node of the cluster"
    try:
        return list_jobs(plan.folder), ""
    except SlurmUnreachable as error:
        return None, str(error)


def _driver_lives(plan: Plan, queue: list[QueuedJob] | None) -> bool | None:
    """By its process, or on another host by its Slurm job or the signs of life that it gives."""
    here = plan.driver.runs_here()
    if here is not None:
        return here
    own = [job for job in queue or [] if job.job_id == plan.driver.slurm_job]
    if own:
        return not own[0].has_ended
    return shows_life(plan.folder, pid=plan.driver.pid, host=plan.driver.host)


def _changed(path: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime).astimezone()
    except OSError:
        return None


def marked_incomplete(folder: Path, since: datetime) -> set[str]:
    """The outputs that Snakemake has marked as being written since then: the marks are named by them, in base64 and in pieces
    that fit a file's name. Killed runs leave older ones."""
    root = folder / ".snakemake" / "incomplete"
    marked = set()
    for parent, _, names in os.walk(root):
        pieces = [piece.removeprefix("@") for piece in Path(parent).relative_to(root).parts]
        for name in names:
            try:
                if Path(parent, name).stat().st_mtime >= since.timestamp():
                    marked.add(base64.urlsafe_b64decode("".join([*pieces, name])).decode())
            except (OSError, ValueError):
                continue
    return marked


class _Look:
    """One look at a run. ``alive``: the driver lives, or may live."""

    def __init__(
        self, plan: Plan, events: RunEvents, queue: list[QueuedJob] | None, alive: bool, marked: set[str]
    ) -> None:
        self._plan = plan
        self._events = events
        self._queue: Mapping[str, QueuedJob] = {job.job_id: job for job in queue or []}
        self._by_comment = {job.comment: job for job in queue or [] if not job.has_ended}
        self._asked = queue is not None
        self._alive = alive
        self._marked = marked

    def status_of(self, job: RunJob) -> JobStatus:
        events = self._events.jobs.get(job.id, JobEvents())
        submission = self._events.submissions.get(job.submitted_as)
        slurm = self._queue.get(submission.slurm_id) if submission else self._by_comment.get(job.comment)
        return JobStatus(job, self._state(job, events.last, submission, slurm), events, submission, slurm)

    def _state(self, job: RunJob, last: Event | None, submission: Submission | None, slurm: QueuedJob | None) -> State:
        if not job.needed or last is Event.FINISHED:
            return State.DONE
        if last is Event.FAILED:
            return State.FAILED
        if last is not Event.RESTARTED and self._is_written(job):
            return State.DONE
        if slurm is not None and not slurm.has_ended:
            return State.QUEUED if slurm.state in STARTING else State.RUNNING
        if submission is not None and not self._asked:
            return State.UNKNOWN
        is_handed_out = last is Event.STARTED or bool(self._marked.intersection(job.outputs))
        if self._alive and is_handed_out:
            return State.RUNNING if job.local or submission else State.QUEUED
        return State.WAITING

    def _is_written(self, job: RunJob) -> bool:
        """Whether all outputs are there, whole and of this run. Snakemake says it later when the job runs elsewhere."""
        if self._marked.intersection(job.outputs):
            return False
        started = self._plan.started.timestamp()
        try:
            return all((self._plan.folder / path).stat().st_mtime >= started for path in job.outputs)
        except OSError:
            return False
