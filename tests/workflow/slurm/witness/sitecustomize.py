"""On the Python path of a private cluster: tells the tests what a stage's process in a Slurm job saw, and does what they ask.

Python imports a module of this name when it starts. The folder WITNESS gets one file a process; a file ``eat-<Slurm job>``
there makes the stage of that job take as many MB as it says. While there is a file ``hold``, the first process that trains a LAM waits
after its first checkpoint, which it tells in a file ``held-<job>``, until it gets SIGTERM: it would be over before anybody could
strike it.
"""

import json
import os
import signal
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


def wait_for_sigterm():
    told = threading.Event()
    before = signal.getsignal(signal.SIGTERM)

    def tell(number, frame):
        told.set()
        before(number, frame)

    signal.signal(signal.SIGTERM, tell)
    while not told.wait(0.05):
        pass
    signal.signal(signal.SIGTERM, before)


def hold_after_first_checkpoint(folder, job):
    replace = os.replace

    def replace_and_wait(source, target):
        replace(source, target)
        training = Path(target).parent
        mark = folder / ("first-" + "-".join(training.parts[-3:]))
        if Path(target).name.startswith("checkpoint-") and not mark.exists():
            mark.touch()
            folder.joinpath(f"held-{job}.new").write_text("/".join(training.parts[-3:]))
            replace(folder / f"held-{job}.new", folder / f"held-{job}")
            wait_for_sigterm()

    os.replace = replace_and_wait


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
    if script == "train_lam.py" and folder.joinpath("hold").exists():
        hold_after_first_checkpoint(folder, job)
