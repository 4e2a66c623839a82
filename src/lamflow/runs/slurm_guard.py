"""Keeps a driver from waiting for ever: what Snakemake's Slurm executor takes for a running job may have ended long ago.

The executor asks squeue for its jobs now and then. It goes on waiting for a job that was preempted, and for one that squeue no
longer lists; it forgets all jobs when squeue fails often enough; and a job that cannot be submitted while slurmctld is away has
failed, although slurmctld may have it. ``guard_executor`` mends these in the driver of a run, before it hands out jobs.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import snakemake_executor_plugin_slurm as plugin

from lamflow.runs.slurm_queue import ENDED, QueuedJob, SlurmUnreachable, job_comment, jobs_of_folder, slurm_command

PLUGIN = "snakemake-executor-plugin-slurm"
PLUGIN_VERSION = "2.8.0"
"""The guard replaces parts that are private to the executor, so they are known of this version alone."""
NO_ANSWER = (
    "Unable to contact slurm controller",
    "Socket timed out",
    "Zero Bytes were transmitted",
    "Unexpected message received",
)
"""What sbatch and squeue say when slurmctld is away or overloaded (slurm_strerror); after all but the first it may have got the request."""


def guard_executor(executor: Any, *, patience: float = 60, pause: float = 10) -> None:
    """Guard Snakemake's Slurm executor, ``workflow.scheduler._executor`` in a Snakefile's ``onstart``.

    A job that squeue lists no longer, or as one that has ended although Slurm could still requeue it, counts as ended
    ``patience`` seconds later. A submission that slurmctld has not answered is looked after every ``pause`` seconds.
    ValueError when another version of the plugin is installed.
    """
    found = version(PLUGIN)
    if found != PLUGIN_VERSION:
        raise ValueError(
            f"{PLUGIN} is {found}, but lamflow mends {PLUGIN_VERSION}, which would wait for ever for preempted and lost jobs. "
            f"Install that one: pip install {PLUGIN}=={PLUGIN_VERSION}"
        )
    _Guard(executor, patience, pause)


class _Guard:
    """Stands in for five functions of the executor and its module; ``_states`` are those of the latest answer in a check."""

    def __init__(self, executor: Any, patience: float, pause: float) -> None:
        self._executor, self._patience, self._pause = executor, patience, pause
        self._states: dict[str, str] | None = None
        self._squeue_answered = False
        self._doubtful_since: dict[str, float] = {}
        self._submitted: set[str] = set()
        self._told: dict[str, float] = {}
        self._stopping = threading.Event()

        for name in [name for name in os.environ if name.startswith("SQUEUE_")]:
            del os.environ[name]  # a user's filters would hide jobs from the executor

        self._query, plugin.query_job_status = plugin.query_job_status, self._noted_query
        self._check, executor.check_active_jobs = executor.check_active_jobs, self._jobs_to_wait_for
        self._submission, executor.report_job_submission = executor.report_job_submission, self._noted_submission
        self._failure, executor._report_job_error_threadsafe = executor._report_job_error_threadsafe, self._submit_again
        self._shutdown, executor.shutdown = executor.shutdown, self._stop

    async def _noted_query(self, command: str, logger: Any) -> tuple[dict[str, str] | None, float | None]:
        states, seconds = await self._query(command, logger)
        if states is not None:
            self._states, self._squeue_answered = states, command.startswith("squeue")
        return states, seconds

    async def _jobs_to_wait_for(self, jobs: list[Any]) -> AsyncIterator[Any]:
        """The executor's check of its jobs: reports those that have ended and yields the others."""
        self._states = None
        async for job in self._check(jobs):
            state = None if self._states is None else self._states.get(job.external_jobid)
            if not self._has_ended(job.external_jobid, state):
                yield job
            elif state is None and _has_written_outputs(job):
                self._executor.report_job_success(job)
            else:
                if state is None:  # should Slurm have it all the same, it must not write beside the next attempt
                    _cancel(job.external_jobid)
                fate = "is no longer known to Slurm, and its outputs are not there" if state is None else f"is {state}"
                self._executor.report_job_error(
                    job, msg=f"SLURM-job '{job.external_jobid}' {fate}. ", aux_logs=[str(job.aux["slurm_logfile"])]
                )
        if jobs and self._states is None:
            self._tell(f"{len(jobs)} submitted jobs are waited for")
            for job in jobs:
                yield job

    def _has_ended(self, job_id: str, state: str | None) -> bool:
        """Whether a job has ended that the executor takes for running. sacct may list jobs late, arrays under other names."""
        if state is None and not (self._squeue_answered and job_id.isdigit()):
            return False
        if state is not None and state.split()[0] not in ENDED:  # sacct says "CANCELLED by 0"
            self._doubtful_since.pop(job_id, None)
            return False
        now = time.monotonic()
        doubtful_since = self._doubtful_since.setdefault(job_id, now)
        may_return = state is None or not self._executor.workflow.executor_settings.no_requeue
        return now - doubtful_since >= (self._patience if may_return else 0)

    def _noted_submission(self, job: Any, **options: Any) -> None:
        self._submitted.add(job.external_jobid)
        job.aux["submitted"] = time.time()
        self._submission(job, **options)

    def _submit_again(self, job: Any, msg: str) -> None:
        """A failed submission. One that slurmctld has not answered is repeated when it does, unless it has the job: two jobs would
        write the same files."""
        if not any(text in msg for text in NO_ANSWER):
            self._failure(job, msg)
            return
        queue = self._queue_when_back()
        if queue is None:
            return
        wildcards = plugin.get_job_wildcards(job.job)
        comment = job_comment(job.job.name, wildcards)
        ours = [
            queued.job_id for queued in queue if (queued.name, queued.comment) == (self._executor.run_uuid, comment)
        ]
        unheard = next((job_id for job_id in ours if job_id not in self._submitted), None)
        if unheard is not None and job.job.is_group():
            _cancel(unheard)  # all groups of a run are called the same: it may be another one's
            unheard = None
        if unheard is None:
            self._executor._job_submission_executor.submit(self._executor.run_job, job.job)
            return
        self._executor.logger.info(f"Job {job.job.jobid} has reached Slurm all the same, with SLURM jobid {unheard}.")
        kind = "group" if job.job.is_group() else "rule"
        log = self._executor.slurm_logdir / f"{kind}_{job.job.name}" / wildcards / f"{unheard}.log"
        self._executor._report_job_submission_threadsafe(
            plugin.SubmittedJobInfo(job.job, unheard, {"slurm_logfile": log})
        )

    def _queue_when_back(self) -> list[QueuedJob] | None:
        """The folder's jobs, as soon as Slurm lists them; None when Snakemake ends before, shut down or by an error."""
        while not self._stopping.wait(self._pause) and threading.main_thread().is_alive():
            try:
                return jobs_of_folder(Path(self._executor.workflow.workdir_init))
            except SlurmUnreachable:
                self._tell("jobs wait to be submitted")
        return None

    def _stop(self) -> None:
        self._stopping.set()
        self._shutdown()

    def _tell(self, consequence: str) -> None:
        """Say, once a minute, that Slurm does not answer."""
        now = time.monotonic()
        if now - self._told.get(consequence, -math.inf) >= 60:
            self._told[consequence] = now
            self._executor.logger.warning(f"Slurm does not answer: {consequence}. It is asked until it does.")


def _cancel(job_id: str) -> None:
    with suppress(SlurmUnreachable):  # or Slurm does not know it
        slurm_command("scancel", job_id)


def _has_written_outputs(job: Any) -> bool:
    """Whether all outputs are there, and of this attempt: stages rename them into place when they are whole, but when a job has
    never run, those of an earlier run may still lie there."""
    outputs = [Path(output) for output in job.job.output]
    return bool(outputs) and all(path.exists() and path.stat().st_mtime >= job.aux["submitted"] for path in outputs)
