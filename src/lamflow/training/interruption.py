"""Signals that ask a process to stop: a training ends its step and writes a checkpoint, any other stage ends where it is, and the job exits
with a code that asks for a retry."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, ClassVar

KEYS = (signal.SIGINT, signal.SIGQUIT)
"""Ctrl-C and Ctrl-\\: when one comes a second time, the process ends at once."""
SIGNALS = (*KEYS, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)
"""What people press, what schedulers send ahead of a time limit or a preemption, and what a terminal sends that is closed."""
RETRY_EXIT_CODE = os.EX_TEMPFAIL
"""75, sysexits.h's "temporary failure, try again"."""


class TrainingInterrupted(Exception):
    """A signal ended a training; the message names it, the step, and the checkpoint that the next attempt resumes from."""


class StageInterrupted(KeyboardInterrupt):
    """A signal ended a stage outside of a training's steps. No ``Exception``: what handles errors must not take it for one."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(f"stopped by {number.name}; nothing half-made is left as a result: run the same command again")


class Request:
    """``signal`` is the first one that has come, or None."""

    active: ClassVar[Request | None] = None
    """Where signals go at present."""

    def __init__(self, *, noting: bool = True, is_job: bool = False) -> None:
        self.signal: signal.Signals | None = None
        self.noting = noting
        self.has_raised = False
        self.listener: Callable[[], None] | None = None
        self.before: dict[signal.Signals, Any] = {}
        self._is_job = is_job
        self._had_key = False

    def install(self) -> None:
        """Take the signals, but for those that the process ignores: of a run under nohup, or behind ``&`` in a shell script."""
        handlers = {number: signal.getsignal(number) for number in SIGNALS}
        self.before = {number: handler for number, handler in handlers.items() if handler not in (signal.SIG_IGN, None)}
        for number in self.before:
            signal.signal(number, self._receive)
        Request.active = self

    def remove(self) -> None:
        """Give them back."""
        Request.active = None
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _receive(self, received: int, frame: FrameType | None) -> None:
        number = signal.Signals(received)
        if number in KEYS:
            self._key(number, frame)
        if self.listener is not None:
            self.listener()
        if self.signal is None:
            self.signal = number
            if not self.noting:
                self.has_raised = True
                raise StageInterrupted(number)

    def _key(self, number: signal.Signals, frame: FrameType | None) -> None:
        """The second one ends a job as the system does it, even within C code; elsewhere (a notebook) it does what it did before."""
        again, self._had_key = self._had_key, True
        handler = signal.SIG_DFL if self._is_job else self.before[number]
        if self._is_job:
            for key in KEYS:
                signal.signal(key, signal.SIG_DFL)
        if again and callable(handler):
            handler(number, frame)
        elif again:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


@contextmanager
def stop_requests(listener: Callable[[], None] | None = None) -> Iterator[Request]:
    """While the block runs, ``SIGNALS`` are noted instead of ending the process, and ``listener`` is called at each. A block within
    another leaves them to that one. Outside of the main thread, which alone gets signals, nothing is changed.

    In the process of a job (``stage_signals``) one that came before, too late for the training that it met, is found here again.
    """
    outer = Request.active
    if (outer is not None and outer.noting) or threading.current_thread() is not threading.main_thread():
        yield Request()
        return
    request = outer or Request()
    request.noting, request.listener = True, listener
    if outer is None:
        request.install()
    try:
        yield request
    finally:
        request.listener = None
        if outer is None:
            request.remove()
        else:
            request.noting = False


@contextmanager
def stage_signals() -> Iterator[None]:
    """For the process of a job: the first of ``SIGNALS`` raises StageInterrupted where the block is, outside of ``stop_requests``; what
    comes later does not disturb the clean-up, but for a second one of ``KEYS``.

    After the block signals are noted only, to the end of the process: a result that is whole must not be lost with it.
    """
    request = Request(noting=False, is_job=True)
    request.install()
    try:
        yield
    except Exception as error:
        if request.has_raised and request.signal:  # a library has made another error of it
            raise StageInterrupted(request.signal) from error
        raise
    finally:
        request.noting = True
