"""How often Snakemake's scheduler wakes."""

import threading
import time

from snakemake.scheduling.job_scheduler import JobScheduler

from lamflow.runs.wakeups import one_wakeup_at_a_time

DELAY = 0.05


class Scheduler:
    """Passes as Snakemake's: each waits for the semaphore, and starts a timer at its end."""

    _schedule_reevalutation = JobScheduler._schedule_reevalutation

    def __init__(self) -> None:
        self._open_jobs = threading.Semaphore(0)
        self.passes = 0

    def run(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self._open_jobs.acquire(timeout=DELAY / 5):
                self.passes += 1
                self._schedule_reevalutation(DELAY)


def test_jobs_that_finish_do_not_add_to_the_passes_of_all_time_to_come() -> None:
    own, mended = Scheduler(), Scheduler()
    one_wakeup_at_a_time(mended)
    for scheduler in (own, mended):
        scheduler._open_jobs.release(40)  # as 40 jobs that have finished
        scheduler.run(0.5)
    assert own.passes > 2 * mended.passes, "Snakemake does this itself now: lamflow.runs.wakeups can go"
    assert 40 <= mended.passes <= 52


def test_a_pass_begins_within_the_delay_of_any_other() -> None:
    scheduler = Scheduler()
    one_wakeup_at_a_time(scheduler)
    scheduler._schedule_reevalutation(DELAY)
    scheduler._schedule_reevalutation(DELAY)
    for _ in range(5):
        assert scheduler._open_jobs.acquire(timeout=100 * DELAY)
        scheduler._schedule_reevalutation(DELAY)
    assert scheduler._open_jobs.acquire(timeout=100 * DELAY)
    assert not scheduler._open_jobs.acquire(timeout=3 * DELAY)


def test_snakemake_still_has_the_parts_that_are_replaced() -> None:
    assert "_schedule_reevalutation" in vars(JobScheduler)
    assert "_open_jobs" in JobScheduler.__init__.__code__.co_names
