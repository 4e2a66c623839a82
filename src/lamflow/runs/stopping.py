"""How a run is stopped: whatever signal asks for it, its driver ends as after Ctrl-C, and its jobs keep what they have done.

Snakemake's own answers (9.27): after SIGINT the driver waits, without limit, for the jobs that run, and tells them nothing; a terminal's
Ctrl-C reaches them beside it, other senders' does not. After SIGTERM it lets them finish. Other signals kill it and leave its lock behind.
"""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path
from types import FrameType

import psutil

from lamflow.runs.driver import runs_stage

SIGNALS = (signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)
"""SIGTERM stays Snakemake's: jobs that run finish, no other begins."""


def stop_in_order(folder: Path) -> None:
    """From now on each of ``SIGNALS`` asks this process's jobs in ``folder`` for their checkpoints and ends the run, as Ctrl-C does.

    For the main thread. Signals that the process ignores (under nohup) stay ignored. A second SIGINT does what it always does.
    """
    taken = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]

    def stop(_number: int, _frame: FrameType | None) -> None:
        for number in taken:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_IGN)
        for process in psutil.Process().children(recursive=True):
            if runs_stage(process, folder):
                with suppress(psutil.NoSuchProcess):
                    # A terminal has sent its Ctrl-C to all: a second SIGINT would end the job without a checkpoint.
                    process.terminate()
        raise KeyboardInterrupt

    for number in taken:
        signal.signal(number, stop)
