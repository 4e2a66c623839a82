"""On the Python path of a private cluster: tells the tests what a stage's process in a Slurm job saw, and takes memory when they ask.

Python imports a module of this name when it starts. The folder WITNESS gets one file a process; a file ``eat-<Slurm job>``
there makes the stage of that job take as many MB as it says.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path

SEEN = ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID", "SLURMD_NODENAME")


def eat(order):
    while not order.exists():
        time.sleep(0.05)
    eaten = bytearray(int(order.read_text()) << 20)
    for place in range(0, len(eaten), 4096):
        eaten[place] = 1
    time.sleep(600)


if "SLURM_JOB_ID" in os.environ and any(".snakemake/scripts/" in argument for argument in sys.orig_argv):
    folder = Path(os.environ["WITNESS"])
    job = os.environ["SLURM_JOB_ID"]
    script = Path(sys.orig_argv[-1]).name.split(".", 1)[1]
    seen = {name: os.environ.get(name) for name in SEEN} | {
        "script": script,
        "started": time.time(),
        "pid": os.getpid(),
    }
    folder.joinpath(f"{job}-{os.getpid()}.json").write_text(json.dumps(seen))
    threading.Thread(target=eat, args=[folder / f"eat-{job}"], daemon=True).start()
