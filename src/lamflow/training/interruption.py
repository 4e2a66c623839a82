"""Signals that ask a training to stop: it ends its step, writes a checkpoint, and its job exits with a code that asks for a retry."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""What schedulers send ahead of a time limit or a preemption."""
RETRY_EXIT_CODE = os.EX_TEMPFAIL
"""75, sysexits.h's "temporary failure, try again"."""


class TrainingInterrupted(Exception):
    """A signal ended a training; the message names it, the step, and the checkpoint that the next attempt resumes from."""


class Request:
    """``signal`` is the one that has come, or None."""

    active = False
    """Whether signals are being noted for a training around the present one."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)


@contextmanager
def stop_requests() -> Iterator[Request]:
    """While the block runs, ``SIGNALS`` are noted instead of ending the process. A block within another leaves them to that one.
    Outside of the main thread, which alone gets signals, nothing is changed."""
    request = Request()
    if Request.active or threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request._receive) for number in SIGNALS}
    Request.active = True
    try:
        yield request
    finally:
        Request.active = False
        for number, handler in before.items():
            signal.signal(number, handler)
