"""How a workflow script runs its stage: threads limited before torch and JAX start, output in the log, errors in a line."""

from __future__ import annotations

import io
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from lamflow.code_digests import Code
from lamflow.provenance import note_sources
from lamflow.training.interruption import RETRY_EXIT_CODE, StageInterrupted, TrainingInterrupted, stage_signals
from lamflow.training.memory import keep_freed_memory

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NPROC",
)
"""Read once, when the libraries load: torch, MKL, OpenBLAS, numexpr, numba (which gives its number to torch as well when UMAP first calls
it), and XLA's thread pool on the CPU (``NPROC``)."""

PRECISION_VARIABLES = (
    "DNNL_DEFAULT_FPMATH_MODE",
    "NVIDIA_TF32_OVERRIDE",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
)
"""Would lower the precision of float32 products behind the configuration's back; taken away before torch reads them."""


class Run(Protocol):
    """Calls a stage in the process of its script."""

    def __call__(self, stage: Callable[..., None], /, **arguments: Any) -> None:
        """``stage(**arguments)``, in each of the processes that share it."""
        ...


@contextmanager
def stage_process(snakemake: Any, *, processes: int = 1) -> Iterator[Run]:
    """What a workflow script does around its stage, which it imports within the block: threads are limited when libraries load.

    ``snakemake`` is the object that Snakemake gives its scripts. With several ``processes`` each calls the stage, and they share its
    trainings. The process gets as many threads as the rule has. Everything that is printed, by C libraries too, goes to the rule's log, if
    it has one; so does the traceback of a failure, of which the terminal gets the message. Exits with status 1 then. A signal that asks to
    stop ends it with a line, no traceback, and ``RETRY_EXIT_CODE``.
    """
    for variable in THREAD_VARIABLES:
        os.environ[variable] = str(snakemake.threads)
    for variable in PRECISION_VARIABLES:
        os.environ.pop(variable, None)
    keep_freed_memory()
    terminal = os.dup(2)
    try:
        log = Path(snakemake.log[0]) if snakemake.log else None
        with _output_to(log), _warnings_to(terminal if log else None, snakemake.rule):
            try:
                with stage_signals():
                    yield partial(_run, processes)
            except (Exception, StageInterrupted) as error:
                stopped = isinstance(error, StageInterrupted | TrainingInterrupted)
                print(error) if stopped else traceback.print_exc()
                with suppress(OSError):  # the terminal may be closed
                    os.write(terminal, f"{snakemake.rule}: {_message(error)}\n".encode())
                sys.exit(RETRY_EXIT_CODE if stopped else 1)
    finally:
        os.close(terminal)


def _run(processes: int, stage: Callable[..., None], /, **arguments: Any) -> None:
    code = _code_of(stage.__module__, arguments.get("environment"))
    note_sources(code)
    if processes == 1:
        stage(**arguments)
    else:
        from lamflow.training.processes import launch

        launch(stage, arguments, processes=processes, code=code)


def _code_of(stage: str, environment: Mapping[str, Any] | None) -> Code:
    """Imported here, as numpy reads the number of threads when it is."""
    from lamflow.envs.spec import EnvironmentSpec
    from lamflow.stages.code import stage_code

    return stage_code(stage, EnvironmentSpec.from_facts(environment) if environment else None)


def _message(error: BaseException) -> str:
    """What to show of an error: ValueErrors and missing files are written for people, others need their type."""
    written_for_people = (ValueError, FileNotFoundError, TrainingInterrupted, StageInterrupted)
    return str(error) if isinstance(error, written_for_people) else f"{type(error).__name__}: {error}"


@contextmanager
def _output_to(log: Path | None) -> Iterator[None]:
    """Point the file descriptors of stdout and stderr at ``log``, line by line, so that a killed process has said what it did, and
    in UTF-8, whatever the locale; None leaves them alone."""
    if log is None:
        yield
        return
    log.parent.mkdir(parents=True, exist_ok=True)
    before = [os.dup(1), os.dup(2)]
    with log.open("wb") as opened:
        _flush()
        for descriptor in (1, 2):
            os.dup2(opened.fileno(), descriptor)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    os.environ["PYTHONIOENCODING"] = "utf-8:backslashreplace"  # of the processes that share a training
    try:
        yield
    finally:
        _flush()
        for descriptor, saved in zip((1, 2), before, strict=True):
            os.dup2(saved, descriptor)
            os.close(saved)


@contextmanager
def _warnings_to(terminal: int | None, stage: str) -> Iterator[None]:
    """Show lamflow's warnings there too, as nobody reads the logs of jobs that succeed; with None, where its output goes alone."""
    logger = logging.getLogger("lamflow")
    # The log, too, which a logger without handlers would write to.
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if terminal is not None:
        shown = logging.StreamHandler(os.fdopen(os.dup(terminal), "w", encoding="utf-8", errors="backslashreplace"))
        shown.setFormatter(logging.Formatter(f"{stage}: warning: %(message)s"))
        handlers.append(shown)
    for handler in handlers:
        handler.setLevel(logging.WARNING)
        logger.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
        if terminal is not None:
            with suppress(OSError):  # it may be closed by now
                shown.stream.close()


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
