"""Keeps Snakemake's scheduler from waking ever more often as a run goes on.

With a limit on jobs in a span of time, and by default there is one, the scheduler starts a timer at the end of each of its passes,
and a timer's end begins another pass. A job that finishes begins one, too, so after n jobs there are n passes in each span, each of
which looks at every input of every job that is ready: after 150 jobs the driver took a third of a core, after a thousand it would
take a core. Without a limit there are no timers, and nothing needs them: a job that finishes frees what another one waits for.
"""

from __future__ import annotations

from typing import Any

DEFAULT = (100, 1)
"""Jobs and seconds of Snakemake's own limit, `--max-jobs-per-timespan 100/1s`."""


def wake_for_jobs_alone(workflow: Any, *, executor_keeps_limit: bool) -> None:
    """Take the limit from the scheduler; ``workflow`` as in a Snakefile's ``onstart``.

    A limit that somebody has set stays, and with it the timers, unless the executor keeps to it itself.
    """
    limit = workflow.scheduling_settings.max_jobs_per_timespan
    if limit is not None and (executor_keeps_limit or (limit.max_jobs, limit.timespan) == DEFAULT):
        workflow.scheduler.job_rate_limiter = None
