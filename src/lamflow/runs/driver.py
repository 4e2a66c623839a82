"""The driver of a run, which is the Snakemake process that hands out jobs: one a folder, and none before the last one's jobs have ended."""

from __future__ import annotations

import errno
import fcntl
import getpass
import json
import os
import re
import socket
import sys
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import psutil

from lamflow.runs.slurm_queue import QueuedJob, SlurmUnreachable, has_slurm, jobs_of_folder, slurm_command

LOCK = Path(".snakemake", "lamflow_driver.json")
JOB_NAME = re.compile(r"(^|_)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
"""Names of jobs that Snakemake's Slurm executor submits: a prefix, and the run's UUID."""
PATIENCE_SECONDS = 300
POLL_SECONDS = 2.0


def take_folder(folder: Path, *, slurm_job: str | None = None) -> int:
    """Lock ``folder`` for this process until it ends, whatever ends it, and note who holds it; returns the lock's descriptor.

    ``slurm_job`` is the id of the Slurm job that this process is. Snakemake's own lock outlives a killed driver, so people
    remove it by habit; this one says whether the other driver lives. ValueError when it does. On a file system without locks
    there is a warning, and Snakemake's lock is all there is.
    """
    path = folder / LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ValueError(
            f"{folder}: another run is going on in this folder, {_holder(path)}. Two would write the same files: wait for "
            "it, stop it with Ctrl-C, or run this one in a checkout of its own."
        ) from None
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        print(
            f"{folder}: this file system has no locks ({error.strerror}); see to it yourself that one run at a time goes "
            "on in this folder.",
            file=sys.stderr,
        )
    holder = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "slurm_job": slurm_job,
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{json.dumps(holder)}\n".encode(), 0)
    return descriptor


def _holder(path: Path) -> str:
    """Who holds the lock, as far as its file tells: it may be in the middle of being written."""
    try:
        holder = json.loads(path.read_text())
        job = f", Slurm job {holder['slurm_job']}" if holder["slurm_job"] else ""
        return f"process {holder['pid']} on {holder['host']}{job}, since {holder['started']}"
    except (ValueError, KeyError, TypeError, OSError):
        return "which has only just started"


def orphans_of(folder: Path, *, slurm_job: str | None = None) -> list[QueuedJob]:
    """Jobs of a run in ``folder`` that have not ended, without the one that this process is; while no driver lives, nobody waits
    for them. Jobs that people submitted from there by hand do not count. ``SlurmUnreachable`` when squeue fails."""
    return [
        job
        for job in jobs_of_folder(folder)
        if JOB_NAME.search(job.name) and not job.has_ended and job.job_id != slurm_job
    ]


def end_orphans(folder: Path, *, slurm_job: str | None = None, patience: float = PATIENCE_SECONDS) -> list[QueuedJob]:
    """Cancel the jobs that a killed driver has left, wait until they have ended, and return them.

    Otherwise Snakemake would submit them again, and two jobs would write the same files. A cancelled training writes a
    checkpoint, so its successor resumes. ValueError when one still runs after ``patience`` seconds, ``SlurmUnreachable`` when
    Slurm does not answer.
    """
    found = orphans = orphans_of(folder, slurm_job=slurm_job)
    deadline = time.monotonic() + patience
    if found:
        print(
            f"{len(found)} Slurm jobs of an earlier run, whose driver was killed, are still there. They are cancelled now: "
            f"{', '.join(job.job_id for job in found)}.",
            file=sys.stderr,
        )
    while orphans:
        if time.monotonic() > deadline:
            raise ValueError(
                f"{len(orphans)} Slurm jobs of an earlier run in {folder} have not ended {patience:.0f} s after they were "
                f"cancelled: {', '.join(f'{job.job_id} ({job.state})' for job in orphans)}. Start again when they have (squeue "
                "--me), or two jobs would write the same files."
            )
        slurm_command("scancel", *(job.job_id for job in orphans))
        time.sleep(POLL_SECONDS)
        orphans = orphans_of(folder, slurm_job=slurm_job)
    return found


def end_local_orphans(folder: Path, *, patience: float = PATIENCE_SECONDS) -> list[int]:
    """The same for processes of stages that run on this machine beside a driver that was killed; returns their ids.

    Those of Slurm's jobs do not count. ValueError when one cannot be ended.
    """
    orphans = [process for process in psutil.process_iter() if _is_local_stage(process, folder)]
    if not orphans:
        return []
    ids = [process.pid for process in orphans]
    print(
        f"{len(ids)} processes of an earlier run, whose driver was killed, are still there. They are ended now: "
        f"{', '.join(map(str, ids))}.",
        file=sys.stderr,
    )
    for process in orphans:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, left = psutil.wait_procs(orphans, timeout=patience)
    if left:
        raise ValueError(
            f"{len(left)} processes of an earlier run in {folder} have not ended {patience:.0f} s after they were asked to: "
            f"{', '.join(str(process.pid) for process in left)}. End them (kill -9) and start again, or two would write the "
            "same files."
        )
    return ids


def _is_local_stage(process: psutil.Process, folder: Path) -> bool:
    """Whether a process runs one of the scripts that Snakemake has written for its jobs in ``folder``."""
    scripts = str(folder.resolve() / ".snakemake" / "scripts") + os.sep
    try:
        ours = process.username() == getpass.getuser() and any(part.startswith(scripts) for part in process.cmdline())
        return ours and "SLURM_JOB_ID" not in process.environ()
    except psutil.Error:  # it has ended, or is somebody else's
        return False


def take_over(folder: Path, *, slurm_job: str | None = None, needs_slurm: bool) -> int:
    """What a driver does before it hands out jobs: ``take_folder``, ``end_local_orphans``, and ``end_orphans`` where there is Slurm.

    A run on this machine alone (not ``needs_slurm``) goes on with a warning when Slurm does not answer. Errors as there.
    """
    descriptor = take_folder(folder, slurm_job=slurm_job)
    end_local_orphans(folder)
    if has_slurm():
        try:
            end_orphans(folder, slurm_job=slurm_job)
        except SlurmUnreachable as error:
            if needs_slurm:
                raise ValueError(
                    f"Slurm does not answer, so nobody knows whether jobs of an earlier run still write to {folder}: {error}. "
                    "Start again when squeue works."
                ) from None
            print(f"Slurm does not answer ({error}); jobs of an earlier run there are not looked for.", file=sys.stderr)
    return descriptor
