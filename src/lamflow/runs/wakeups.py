"""Keeps Snakemake's scheduler from waking ever more often as a run goes on.

With a limit on jobs in a span of time, and by default there is one, the scheduler starts a timer at the end of each of its passes,
and a timer's end begins another pass. A job that finishes begins one, too, so after n jobs there are n passes in each span, each of
which looks at every input of every job that is ready: after 150 jobs the driver took a third of a core, after a thousand it would
take a core. ``one_wakeup_at_a_time`` mends that in the driver of a run, before it hands out jobs.
"""

from __future__ import annotations

import threading
from typing import Any


def one_wakeup_at_a_time(scheduler: Any) -> None:
    """Let no two timers of one delay wait at once; ``scheduler``: ``workflow.scheduler`` in a Snakefile's ``onstart``.

    Nothing is lost: a pass between finds the timer waiting, which begins a pass no later than one of its own would. Timers do not keep
    the process from ending, as Snakemake's own do. A scheduler without these private parts is left as it is.
    """
    if not hasattr(scheduler, "_schedule_reevalutation") or not hasattr(scheduler, "_open_jobs"):
        return
    waiting: set[float] = set()

    def schedule(delay: float) -> None:
        if delay in waiting:
            return
        waiting.add(delay)

        def wake() -> None:
            # In this order: the pass that begins now starts the next timer.
            waiting.discard(delay)
            scheduler._open_jobs.release()

        timer = threading.Timer(delay, wake)
        timer.daemon = True
        timer.start()

    scheduler._schedule_reevalutation = schedule
