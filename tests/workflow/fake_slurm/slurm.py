"""Stands in for Slurm's commands, by the name that it is called under, in the folder FAKE_SLURM.

``sbatch`` takes a line from the file `fates`, the last one again and again: a state in which the job is at once, which made its outputs if
it is COMPLETED, or one of

- ``unanswered``: slurmctld is away, and gets no job
- ``unheard``: slurmctld gets the job, and sbatch no answer
- ``forgotten STATE``: only the accounting knows of the job, with that state
"""

import fcntl
import json
import os
import sys
import time
from pathlib import Path

FOLDER = Path(os.environ["FAKE_SLURM"])


def sbatch(arguments):
    time.sleep(float(os.environ.get("SBATCH_SECONDS", "0")))
    with FOLDER.joinpath("lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # jobs that are submitted at once have numbers of their own
        submit(arguments)


def submit(arguments):
    fates = FOLDER.joinpath("fates").read_text().splitlines()
    fate, *rest = fates
    FOLDER.joinpath("fates").write_text("\n".join(rest or [fate]))
    if fate == "unanswered":
        sys.exit("sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)")
    name, comment, folder = (arguments[arguments.index(option) + 1] for option in ("--job-name", "--comment", "-D"))
    state = "COMPLETED" if fate == "unheard" else fate.split()[-1]
    number = str(len(list(FOLDER.glob("*.job"))) + 1)
    if state == "COMPLETED":
        Path(folder, comment.rpartition("_")[2]).touch()
    job = {"state": state, "name": name, "comment": comment, "folder": folder, "time": time.time()}
    job |= {"listed": not fate.startswith("forgotten")}
    FOLDER.joinpath(f"{number}.job").write_text(json.dumps(job))
    if fate == "unheard":
        sys.exit("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation")
    print(number)


def squeue(arguments):
    separator = arguments[arguments.index("--format") + 1][2:3]
    for path in FOLDER.glob("*.job"):
        job = json.loads(path.read_text())
        if job["listed"]:
            fields = [path.stem, job["state"], job["name"], "None", "n1", job["folder"], job["comment"]]
            print(separator.join(fields))


def sacct(arguments):
    for path in FOLDER.glob("*.job"):
        job = json.loads(path.read_text())
        if "--parsable2" in arguments and not job["listed"]:
            print(f"{path.stem}|{job['state']}")


def scancel(arguments):
    for number in arguments:
        FOLDER.joinpath(f"{number}.cancelled").touch()


def scontrol(arguments):
    print("MinJobAge = 300 sec\nMaxArraySize = 1001")


globals()[Path(sys.argv[0]).name](sys.argv[1:])
