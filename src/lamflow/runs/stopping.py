"""How a run on this machine is stopped: whatever signal asks for it, its stages keep what they have done, and its driver ends.

Snakemake's own answers (9.27): after SIGINT the driver waits, without limit, for the jobs that run, and tells them nothing; a terminal's
Ctrl-C reaches them beside it, other senders' does not. After SIGTERM it lets them finish, however long their trainings are. Other signals
kill it and leave its lock behind.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType

import psutil

from lamflow.runs.driver import runs_stage
from lamflow.runs.events import note

SIGNALS = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)
"""What people press or send, what schedulers send ahead of a time limit, and a closed terminal."""


def stop_in_order(folder: Path) -> None:
    """From now on each of ``SIGNALS`` ends this process's stages in ``folder`` by SIGTERM, on which trainings write a checkpoint, and then
    the run, as Ctrl-C does.

    For the main thread. Signals that the process ignores (under nohup) stay ignored. A second SIGINT does what it always does.
    """
    taken = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]

    def stop(received: int, _frame: FrameType | None) -> None:
        note("stopping")
        for number in taken:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_IGN)
        with suppress(OSError):  # the terminal may be closed
            print(
                f"{signal.Signals(received).name}: the running stages are asked to end; trainings write a checkpoint first. "
                "The same command goes on from there.",
                file=sys.stderr,
                flush=True,
            )
        for process in psutil.Process().children(recursive=True):
            if runs_stage(process, folder):
                with suppress(psutil.NoSuchProcess):
                    # A terminal has sent its Ctrl-C to all: a second SIGINT would end the job without a checkpoint.
                    process.terminate()
        raise KeyboardInterrupt

    for number in taken:
        signal.signal(number, stop)


def note_stopping() -> None:
    """Note SIGINT and SIGTERM, on which Snakemake itself stops, among the run's events. For the main thread."""
    for number in (signal.SIGINT, signal.SIGTERM):
        before = signal.getsignal(number)
        if callable(before):
            signal.signal(number, partial(_note_and_go_on, before))


def _note_and_go_on(before: Callable[[int, FrameType | None], object], received: int, frame: FrameType | None) -> None:
    note("stopping")
    before(received, frame)
