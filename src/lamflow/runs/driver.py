"""The driver of a run, which is the Snakemake process that hands out jobs: one a folder, and none before the last one's jobs have ended."""

from __future__ import annotations

import atexit
import errno
import fcntl
import json
import os
import re
import socket
import sys
import threading
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO

import psutil

from lamflow.runs.slurm_queue import QueuedJob, SlurmUnreachable, has_slurm, jobs_of_folder, slurm_command

LOCK = Path(".snakemake", "lamflow_driver.json")
SNAKEMAKE_LOCKS = Path(".snakemake", "locks")
JOB_NAME = re.compile(r"(^|_)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
"""Names of jobs that Snakemake's Slurm executor submits: a prefix, and the run's UUID."""
SIGN_SECONDS, SILENT_SECONDS = 20, 120
"""How often a driver shows life, and after how long without a sign one on another host is taken to be dead."""
PATIENCE_SECONDS = 300
POLL_SECONDS = 2.0


def take_folder(folder: Path, *, slurm_job: str | None = None) -> IO[bytes]:
    """Lock ``folder`` for this process until it ends, whatever ends it, and note who holds it; closing the file ends it before.

    ``slurm_job`` is the id of the Slurm job that this process is. Snakemake's own lock outlives a killed driver, so people
    remove it by habit; this one says whether the other driver lives. Some file systems have no locks, or none between hosts:
    the holder touches the file all the time, and one that has done so lately on another host is taken to live.
    ValueError when another driver does.
    """
    lock = _free_lock(folder)
    holder = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "slurm_job": slurm_job,
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    lock.truncate(0)
    lock.write(f"{json.dumps(holder)}\n".encode())
    atexit.register(_leave, lock, os.getpid())
    threading.Thread(target=_show_life, args=(lock,), daemon=True).start()
    return lock


def _free_lock(folder: Path) -> IO[bytes]:
    """The opened file of the lock, locked where locks are known; ValueError when another driver has it."""
    path = folder / LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.open("ab", buffering=0)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise ValueError(_refusal(folder, path)) from None
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            lock.close()
            raise
        locked = False
    else:
        locked = True
    silent = time.time() - path.stat().st_mtime
    if silent < SILENT_SECONDS and _may_live(path, locked):
        lock.close()
        raise ValueError(
            f"{_refusal(folder, path)} If it was killed: it showed life {silent:.0f} s ago and is taken to be dead "
            f"{SILENT_SECONDS} s after its last sign."
        )
    return lock


def shows_life(folder: Path, *, pid: int, host: str) -> bool | None:
    """Whether a driver on another host does, by what it leaves in ``folder``; None where it has left nothing that can be read."""
    path = folder / LOCK
    try:
        text, silent = path.read_text(encoding="utf-8"), time.time() - path.stat().st_mtime
        holder = json.loads(text) if text.strip() else {"pid": None, "host": None}  # it ended in order
        return (holder["pid"], holder["host"]) == (pid, host) and silent < SILENT_SECONDS
    except (ValueError, KeyError, TypeError, OSError):
        return None


def clear_stale_locks(folder: Path) -> None:
    """Remove Snakemake's locks on ``folder`` where no driver lives: they outlive one that was killed, and would refuse its successor.

    A driver that starts at this moment loses nothing: ``take_folder`` decides.
    """
    locks = list(folder.joinpath(SNAKEMAKE_LOCKS).glob("*.lock"))
    if not locks:
        return
    with suppress(ValueError), _free_lock(folder):
        for lock in locks:
            lock.unlink(missing_ok=True)


def _show_life(lock: IO[bytes]) -> None:
    """Touch the lock's file until it is closed."""
    with suppress(OSError, ValueError):
        while True:
            time.sleep(SIGN_SECONDS)
            os.utime(lock.fileno())


def _leave(lock: IO[bytes], holder: int) -> None:
    """A driver that ends in order says so at once."""
    if os.getpid() == holder and not lock.closed:
        with suppress(OSError):
            lock.truncate(0)


def _may_live(path: Path, locked: bool) -> bool:
    """Whether the last holder may be alive although its lock was not in the way."""
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        if holder["host"] != socket.gethostname():
            return True
        return not locked and holder["pid"] != os.getpid() and psutil.pid_exists(holder["pid"])
    except (ValueError, KeyError, TypeError, OSError):
        return False


def _refusal(folder: Path, path: Path) -> str:
    return (
        f"{folder}: another run is going on in this folder, {_holder(path)}. Two would write the same files: wait for it, stop "
        "it with Ctrl-C, or run this one in a checkout of its own."
    )


def _holder(path: Path) -> str:
    """Who holds the lock, as far as its file tells: it may be in the middle of being written."""
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
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
        with suppress(SlurmUnreachable):  # it also complains of jobs that are ending; squeue decides
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


def runs_stage(process: psutil.Process, folder: Path) -> bool:
    """Whether a process of ours runs one of the scripts that Snakemake has written for its jobs in ``folder``."""
    scripts = str(folder.resolve() / ".snakemake" / "scripts") + os.sep
    try:
        command = process.cmdline()
        return process.uids().real == os.getuid() and any(part.startswith(scripts) for part in command)
    except psutil.Error:  # it has ended, or is somebody else's
        return False


def _is_local_stage(process: psutil.Process, folder: Path) -> bool:
    try:
        return runs_stage(process, folder) and "SLURM_JOB_ID" not in process.environ()
    except psutil.Error:
        return False


def take_over(folder: Path, *, slurm_job: str | None = None, needs_slurm: bool) -> None:
    """What a driver does before it hands out jobs: ``take_folder``, ``end_local_orphans``, and ``end_orphans`` where there is Slurm.

    A run on this machine alone (not ``needs_slurm``) goes on with a warning when Slurm does not answer. Errors as there.
    """
    take_folder(folder, slurm_job=slurm_job)
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
