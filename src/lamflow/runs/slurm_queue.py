"""What Slurm has queued for a folder, as squeue tells."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

FIELDS = ("%i", "%T", "%j", "%r", "%N", "%Z", "%k")
"""squeue's format of a `QueuedJob`, the in this order."""
SEPARATOR = "\x1f"
"""The unit separator of ASCII: names of other jobs may have any other character."""
QUERY_SECONDS = 60
ENDED = frozenset(
    {
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "DEADLINE",
        "FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "REVOKED",
        "TIMEOUT",
    }
)
"""States of jobs that Slurm has done with; squeue lists them for MinJobAge. On a node that failed, processes may be left."""


NO_ANSWER = (
    "Unable to contact slurm controller",
    "Socket timed out",
    "Zero Bytes were transmitted",
    "Unexpected message received",
)
"""What sbatch and squeue say when slurmctld is away or overloaded (slurm_strerror); after all but the first it may have got the request."""


class SlurmUnreachable(OSError):
    """A Slurm command failed or did not answer; the message is the last that it said."""


@dataclass(frozen=True)
class QueuedJob:
    """One job: ``state`` as squeue's %T (PENDING, RUNNING, ...), ``reason`` why it waits or ended, ``node`` where it runs."""

    job_id: str
    state: str
    name: str
    reason: str
    node: str
    folder: Path
    comment: str

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED


def has_slurm() -> bool:
    """Whether this machine has Slurm's commands."""
    return shutil.which("squeue") is not None


def slurm_command(*arguments: str) -> str:
    """The output of a Slurm command, whatever the user's defaults for it; ``SlurmUnreachable`` when it fails or takes longer than
    ``QUERY_SECONDS``."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SQUEUE_")}
    try:
        result = subprocess.run(
            arguments,
            env=environment,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=QUERY_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SlurmUnreachable(f"{arguments[0]} did not answer within {QUERY_SECONDS} s") from None
    if result.returncode != 0:
        said = result.stderr.strip().splitlines() or [f"exit status {result.returncode}"]
        raise SlurmUnreachable(f"{arguments[0]}: {said[-1]}")
    return result.stdout


def jobs_of_folder(folder: Path) -> list[QueuedJob]:
    """The user's jobs that were submitted from ``folder``, ended ones that squeue still lists among them."""
    options = ("--me", "--noheader", "--array", "--states=all", "--format", SEPARATOR.join(FIELDS))
    listed = slurm_command("squeue", *options)
    jobs = []
    for line in listed.splitlines():
        fields = line.split(SEPARATOR, maxsplit=len(FIELDS) - 1)
        if len(fields) < len(FIELDS):  # the rest of a comment with a line break, which none of the workflow's jobs has
            continue
        job_id, state, name, reason, node, submitted_from, comment = fields
        jobs.append(QueuedJob(job_id, state, name, reason, node, Path(submitted_from), comment))
    return [job for job in jobs if job.folder.resolve() == folder.resolve()]


def is_unanswered(said: str) -> bool:
    """Whether a Slurm command that ``said`` this has got no answer: it may have been heard all the same."""
    return any(text in said for text in NO_ANSWER)


def cancel(job_id: str) -> None:
    """Cancel a job, unless Slurm does not answer or does not know it."""
    with suppress(SlurmUnreachable):
        slurm_command("scancel", job_id)


def accounted_ends(job_ids: Collection[str]) -> dict[str, str]:
    """The states of those of the jobs that have ended, as far as Slurm's accounting knows: squeue lists jobs for ``MinJobAge`` alone.

    Many sites have no accounting, and it may know of a job late: what it does not tell means nothing.
    """
    if not job_ids or shutil.which("sacct") is None:
        return {}
    try:
        options = ("--allocations", "--noheader", "--parsable2", "--format=JobID,State", f"--jobs={','.join(job_ids)}")
        listed = slurm_command("sacct", *options)
    except SlurmUnreachable:
        return {}
    states = dict(line.split("|", maxsplit=1) for line in listed.splitlines() if "|" in line)
    firsts = {job_id: state.split()[0] for job_id, state in states.items() if state.strip()}  # "CANCELLED by 0"
    return {job_id: state for job_id, state in firsts.items() if state in ENDED}


def job_comment(rule: str, wildcards: str) -> str:
    """The comment of the Slurm job that snakemake-executor-plugin-slurm 2.8 submits; ``wildcards`` as its `get_job_wildcards`
    joins them."""
    return f"rule_{rule}_wildcards_{wildcards}" if wildcards else f"rule_{rule}"
