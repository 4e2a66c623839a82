"""What has become of jobs that were submitted to Slurm: which run, which are done, which have failed, and which Slurm has forgotten.

A job may end without a word: it was preempted, or Slurm lists it no longer. To wait for it without end stops a run, and to give it up too
soon makes two jobs write the same files, so such a job counts as ended only after a while.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lamflow.runs.slurm_queue import ENDED, QueuedJob

MAY_RETURN = frozenset({"PREEMPTED", "REVOKED"})
"""States of jobs that Slurm may queue once more."""


def returning_states(*, requeue: bool, no_requeue: bool) -> frozenset[str]:
    """Those from which jobs may return that were submitted with `--requeue`, with `--no-requeue` or without either."""
    if no_requeue:
        return frozenset()
    return MAY_RETURN | {"NODE_FAIL"} if requeue else MAY_RETURN


def are_written(outputs: Sequence[Path], *, since: float) -> bool:
    """Whether all are there, and changed after ``since``, in seconds of the epoch: stages rename them into place when they are whole,
    but when a job has never run, those of an earlier run may still lie there."""
    return bool(outputs) and all(path.exists() and path.stat().st_mtime >= since for path in outputs)


@dataclass(frozen=True)
class Fate:
    """The end of a job. ``state`` is Slurm's, None for a job that Slurm does not know; ``reason`` is Slurm's, may be empty."""

    state: str | None
    reason: str = ""

    @property
    def is_success(self) -> bool:
        return self.state == "COMPLETED"

    def message(self, job_id: str) -> str:
        """For people."""
        if self.state is None:
            return f"SLURM-job '{job_id}' is no longer known to Slurm, and its outputs are not there. "
        if self.state in MAY_RETURN:
            return f"SLURM-job '{job_id}' is {self.state}. "
        reason = f"Reason: {self.reason}. " if self.reason not in ("", "None") else ""
        return f"SLURM-job '{job_id}' failed, SLURM status is: '{self.state}'. {reason}"


@dataclass
class Fates:
    """``patience``: for so many seconds a job that may return, or that Slurm does not list, is waited for.

    ``returning`` are the states of such jobs.
    """

    patience: float
    returning: Collection[str]
    _doubtful_since: dict[str, float] = field(default_factory=dict)

    def of(self, job_id: str, listed: Mapping[str, QueuedJob], accounted: Mapping[str, str], now: float) -> Fate | None:
        """None while the job has to be waited for.

        ``listed``: what squeue lists. ``accounted``: ends that accounting knows. ``now``: seconds of a clock that never goes back.
        """
        queued = listed.get(job_id)
        state = queued.state if queued else accounted.get(job_id)
        if state is not None and state not in ENDED:
            self._doubtful_since.pop(job_id, None)
            return None
        if state is None or state in self.returning:
            since = self._doubtful_since.setdefault(job_id, now)
            if now - since < self.patience:
                return None
        return Fate(state, queued.reason if queued else "")
