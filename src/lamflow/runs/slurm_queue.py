"""What Slurm has queued for a folder, as squeue tells."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

FIELDS = ("%i", "%T", "%j", "%r", "%N", "%Z", "%k")
"""squeue's format of a `QueuedJob`, the comment last: it alone may hold the separator."""
SEPARATOR = "|"
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
"""States in which no process of a job is left; squeue lists such jobs for Slurm's MinJobAge."""


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
    """The output of a Slurm command; ``SlurmUnreachable`` when it fails or takes longer than ``QUERY_SECONDS``."""
    try:
        result = subprocess.run(arguments, capture_output=True, text=True, timeout=QUERY_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise SlurmUnreachable(f"{arguments[0]} did not answer within {QUERY_SECONDS} s") from None
    if result.returncode != 0:
        said = result.stderr.strip().splitlines() or [f"exit status {result.returncode}"]
        raise SlurmUnreachable(f"{arguments[0]}: {said[-1]}")
    return result.stdout


def jobs_of_folder(folder: Path) -> list[QueuedJob]:
    """The user's jobs that were submitted from ``folder``, ended ones that squeue still lists among them."""
    listed = slurm_command("squeue", "--me", "--noheader", "--states=all", "--format", SEPARATOR.join(FIELDS))
    jobs = [_parsed(line) for line in listed.splitlines() if line.strip()]
    return [job for job in jobs if job.folder.resolve() == folder.resolve()]


def _parsed(line: str) -> QueuedJob:
    job_id, state, name, reason, node, work_dir, comment = line.split(SEPARATOR, maxsplit=len(FIELDS) - 1)
    return QueuedJob(job_id, state, name, reason, node, Path(work_dir), comment)
