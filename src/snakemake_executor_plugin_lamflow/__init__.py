"""Snakemake's executor plugin `lamflow`: its Slurm executor, which neither waits for ever nor submits a job twice.

Snakemake finds it by the name of this module, and `slurm/config.yaml` names it. Its settings are those of the Slurm executor, with
`lamflow-` before them in place of `slurm-`. Beside what it inherits it

- asks squeue alone for the states of jobs, and sacct, where there is accounting, for those that squeue lists no longer,
- waits for jobs as long as Slurm does not answer, and gives up those that were preempted or that Slurm has forgotten,
- submits again what slurmctld has not answered, unless slurmctld has it,
- keeps to `--max-jobs-per-timespan` itself, and cancels whatever it has submitted when the run is stopped.

lamflow is imported late, when the Snakefile has put its checkout's code first: this module may be an installed one.
"""

from __future__ import annotations

import asyncio
import math
import queue
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import snakemake_executor_plugin_slurm as slurm
from snakemake_executor_plugin_slurm import common_settings
from snakemake_executor_plugin_slurm.utils import get_job_wildcards
from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

if TYPE_CHECKING:
    from lamflow.runs.slurm_fates import Fate
    from lamflow.runs.slurm_queue import QueuedJob

__all__ = ["Executor", "ExecutorSettings", "common_settings"]

MOST_SECONDS, MORE_SECONDS = 180, 10
"""Between two looks at the queue, and what is added to them while no job ends."""
UNUSED = "Not used: states come from squeue, which is asked until it answers."


@dataclass
class ExecutorSettings(slurm.ExecutorSettings):
    """Those of the Slurm executor, but how it asks for states."""

    status_command: str | None = field(default=None, metadata={"help": UNUSED, "type": str})
    status_attempts: int | None = field(default=None, metadata={"help": UNUSED, "type": int})

    def __post_init__(self) -> None:
        super().__post_init__()
        given = [name for name in ("status-command", "status-attempts") if getattr(self, name.replace("-", "_"))]
        if given:
            raise WorkflowError(f"--lamflow-{given[0]} has no meaning here; leave it out. {UNUSED}")


class Executor(slurm.Executor):
    """``patience``: for so many seconds a job that may return, or that Slurm lists no longer, is waited for. ``pause``: so many seconds lie
    between two looks whether Slurm answers again."""

    patience: float = 60
    pause: float = 10

    def __post_init__(self, test_mode: bool = False) -> None:
        super().__post_init__(test_mode)
        from lamflow.runs.slurm_fates import Fates, returning_states

        settings = self.workflow.executor_settings
        self.fates = Fates(self.patience, returning_states(requeue=settings.requeue, no_requeue=settings.no_requeue))
        self.submitted: set[str] = set()
        self.unanswered: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.told: dict[str, float] = {}
        self.turn = threading.Lock()
        self.stopping = threading.Event()
        self.caretaker = threading.Thread(target=self.look_after_unanswered, daemon=True)
        self.caretaker.start()

    # Submissions ------------------------------------------------------------------------------------------------------

    def run_job(self, job: Any) -> None:
        """Submit a job in its turn, and none while the run is being stopped: nobody would cancel it."""
        limit = self.workflow.scheduling_settings.max_jobs_per_timespan
        with self.turn:
            stopped = self.stopping.wait(limit.timespan / limit.max_jobs if limit else 0)
        if not stopped:
            super().run_job(job)

    def report_job_submission(self, job_info: SubmittedJobInfo, **options: Any) -> None:
        from lamflow.runs.events import note

        name, slurm_id, log = job_info.job.jobid, job_info.external_jobid, job_info.aux["slurm_logfile"]
        self.submitted.add(slurm_id)
        job_info.aux["submitted"] = time.time()
        note("submitted", job=str(name), slurm_id=slurm_id, log=str(log))
        super().report_job_submission(job_info, **options)

    def report_job_error(self, job_info: SubmittedJobInfo, msg: str | None = None, **details: Any) -> None:
        """A submission that slurmctld has not answered is no error yet."""
        from lamflow.runs.slurm_queue import is_unanswered

        if job_info.external_jobid is None and is_unanswered(msg or ""):
            self.unanswered.put(job_info.job)
        else:
            super().report_job_error(job_info, msg, **details)

    def look_after_unanswered(self) -> None:
        """Submit them again when Slurm answers; for a thread of its own."""
        from lamflow.runs.slurm_queue import SlurmUnreachable, jobs_of_folder

        waiting: list[Any] = []
        while not self.stopping.wait(self.pause):
            while not self.unanswered.empty():
                waiting.append(self.unanswered.get())
            try:
                listed = jobs_of_folder(Path(self.workflow.workdir_init)) if waiting else []
            except SlurmUnreachable:
                self.tell("jobs wait to be submitted")
                continue
            for job in waiting:
                self.submit_again(job, listed)
            waiting = []

    def submit_again(self, job: Any, listed: Sequence[QueuedJob]) -> None:
        """Unless Slurm has the job: two would write the same files."""
        from lamflow.runs.slurm_queue import cancel, job_comment

        wildcards = get_job_wildcards(job)
        name_and_comment = self.run_uuid, job_comment(job.name, wildcards)
        ours = [queued.job_id for queued in listed if (queued.name, queued.comment) == name_and_comment]
        unheard = next((slurm_id for slurm_id in ours if slurm_id not in self.submitted), None)
        if unheard is not None and job.is_group():
            cancel(unheard)  # all groups of a run are called the same: it may be another one's
            unheard = None
        if unheard is None:
            self.run_job(job)
            return
        self.logger.info(f"Job {job.jobid} has reached Slurm all the same, with SLURM jobid {unheard}.")
        kind = "group" if job.is_group() else "rule"
        log = self.slurm_logdir / f"{kind}_{job.name}" / wildcards / f"{unheard}.log"
        self.report_job_submission(SubmittedJobInfo(job, unheard, {"slurm_logfile": log}))

    # Ends -------------------------------------------------------------------------------------------------------------

    async def check_active_jobs(self, active_jobs: list[SubmittedJobInfo]) -> AsyncIterator[SubmittedJobInfo]:
        """Report those that have ended and yield the others. Snakemake may ask before ``__post_init__``, then of no job."""
        shortest = self.workflow.executor_settings.init_seconds_before_status_checks
        if not active_jobs:
            self.next_seconds_between_status_checks = shortest
            return
        async with self.status_rate_limiter:
            answer = await asyncio.to_thread(self.ask_slurm, {job.external_jobid for job in active_jobs})
        if answer is None:
            self.tell(f"{len(active_jobs)} submitted jobs are waited for")
            for job in active_jobs:
                yield job
            return
        longer = min(self.next_seconds_between_status_checks + MORE_SECONDS, MOST_SECONDS)
        for job in active_jobs:
            fate = self.fates.of(job.external_jobid, *answer, time.monotonic())
            if fate is None:
                yield job
            else:
                longer = shortest
                await asyncio.to_thread(self.report_fate, job, fate)
        self.next_seconds_between_status_checks = longer

    def ask_slurm(self, job_ids: set[str]) -> tuple[dict[str, QueuedJob], dict[str, str]] | None:
        """What squeue lists, and how others of ``job_ids`` have ended by the accounting; None when squeue does not answer."""
        from lamflow.runs.slurm_queue import SlurmUnreachable, accounted_ends, jobs_of_folder

        try:
            listed = {job.job_id: job for job in jobs_of_folder(Path(self.workflow.workdir_init))}
        except SlurmUnreachable:
            return None
        return listed, accounted_ends(job_ids - listed.keys())

    def report_fate(self, job_info: SubmittedJobInfo, fate: Fate) -> None:
        from lamflow.runs.slurm_fates import are_written
        from lamflow.runs.slurm_queue import cancel

        log, outputs = job_info.aux["slurm_logfile"], [Path(output) for output in job_info.job.output]
        is_forgotten = fate.state is None
        if fate.is_success or (is_forgotten and are_written(outputs, since=job_info.aux["submitted"])):
            self.report_job_success(job_info)
            if not self.workflow.executor_settings.keep_successful_logs:
                with suppress(OSError):
                    log.unlink()
            return
        if is_forgotten:  # should Slurm have it all the same, it must not write beside the next attempt
            cancel(job_info.external_jobid)
        details = {} if is_forgotten else {"slurm_state": fate.state}
        self.report_job_error(job_info, msg=fate.message(job_info.external_jobid), aux_logs=[str(log)], **details)

    # The end ----------------------------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Cancel the jobs, those too that are being submitted or asked about in this moment."""
        from lamflow.runs.slurm_queue import cancel

        self.stopping.set()
        with self.lock:
            known = {job.external_jobid for job in self.active_jobs}
        super().cancel()
        for job_id in {job.external_jobid for job in self.active_jobs} - known:
            cancel(job_id)

    def shutdown(self) -> None:
        self.stopping.set()
        self.caretaker.join()
        super().shutdown()

    def tell(self, consequence: str) -> None:
        """Say, once a minute, that Slurm does not answer."""
        now = time.monotonic()
        if now - self.told.get(consequence, -math.inf) >= 60:
            self.told[consequence] = now
            self.logger.warning(f"Slurm does not answer: {consequence}. It is asked until it does.")
