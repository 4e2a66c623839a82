"""Trainings on several GPUs of one node, one process each, by Lightning Fabric (DDP).

A training that is not ``launch``ed is one process, and everything here is then without effect.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lamflow.code_digests import Code
from lamflow.provenance import note_sources
from lamflow.training.interruption import (
    RETRY_EXIT_CODE,
    SIGNALS,
    StageInterrupted,
    TrainingInterrupted,
    stage_signals,
    stop_requests,
)
from lamflow.training.memory import keep_freed_memory

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_fabric: Fabric | None = None
"""That of this process, if it is one of several."""
_host_group: torch.distributed.ProcessGroup | None = None
"""The same processes, for numbers on the host: they need not wait for a GPU."""


def launch(
    function: Callable[..., None], arguments: Mapping[str, Any], *, processes: int, code: Code | None = None
) -> None:
    """Call ``function`` with ``arguments`` in so many new processes.

    Each process has a GPU of its own, or, on a machine without, a share of the CPU's threads. ``function`` must be one of a module.
    Signals that ask to stop are passed on. ValueError when there are fewer GPUs than processes; what the processes raise is raised here.
    """
    gpus = torch.cuda.device_count()
    if 0 < gpus < processes:
        raise ValueError(f"found {gpus} GPUs, expected {processes}: lower `training.devices`, or ask for more GPUs")
    from lightning_fabric import Fabric
    from lightning_fabric.strategies import DDPStrategy

    # A head that a loss does not use has no gradient to wait for.
    strategy = DDPStrategy(start_method="spawn", find_unused_parameters=True)
    fabric = Fabric(accelerator="cuda" if gpus else "cpu", devices=processes, strategy=strategy)
    with stop_requests(_ask_children_to_stop) as request:
        try:
            fabric.launch(_Work(function, dict(arguments), code))
        except torch.multiprocessing.ProcessExitedException as error:
            if request.signal is None and error.exit_code != RETRY_EXIT_CODE:
                raise
            cause = request.signal.name if request.signal else "a signal"
            raise TrainingInterrupted(
                f"{cause} ended the training's processes; the next attempt resumes: run the same command again"
            ) from None


def _ask_children_to_stop() -> None:
    """SIGTERM for all: a terminal has sent them its Ctrl-C already, and a second one would end them at once."""
    for child in multiprocessing.active_children():
        assert child.pid is not None
        os.kill(child.pid, signal.SIGTERM)


@dataclass(frozen=True)
class _Work:
    """What a new process does."""

    function: Callable[..., None]
    arguments: dict[str, Any]
    code: Code | None

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Runs first of all in the new process. Until the work begins a KeyboardInterrupt would be swallowed by
        # torch.multiprocessing, and the process would seem to have ended well.
        self.__dict__.update(state)
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, lambda _number, _frame: os._exit(RETRY_EXIT_CODE))

    def __call__(self, fabric: Fabric) -> None:
        global _fabric, _host_group
        _fabric = fabric
        try:
            with stage_signals():
                if self.code:
                    note_sources(self.code)
                _host_group = torch.distributed.new_group(backend="gloo")
                keep_freed_memory()
                self.function(**self.arguments)
        except (TrainingInterrupted, StageInterrupted) as error:
            print(error, flush=True)
            raise SystemExit(RETRY_EXIT_CODE) from None


def is_main() -> bool:
    """True in the process that writes files and metrics."""
    return _fabric is None or _fabric.global_rank == 0


@contextmanager
def alone() -> Iterator[None]:
    """What runs in the block (a validation's own trainings) has no part in the other processes."""
    global _fabric
    shared, _fabric = _fabric, None
    try:
        yield
    finally:
        _fabric = shared


def num_processes() -> int:
    """Processes that share this training."""
    return 1 if _fabric is None else _fabric.world_size


def share_of(rows: Tensor) -> Tensor:
    """This process's part of a batch's rows [B]; the parts are equally large. ValueError when that is impossible."""
    if _fabric is None:
        return rows
    if len(rows) % _fabric.world_size:
        raise ValueError(
            f"found a batch of {len(rows)} for {_fabric.world_size} processes, expected a multiple: change `batch_size` or `devices`"
        )
    return rows[_fabric.global_rank :: _fabric.world_size]


def any_process(flag: bool) -> bool:
    """True everywhere if it is True anywhere; every process must call it."""
    return _over_processes([float(flag)], torch.distributed.ReduceOp.MAX)[0] > 0


def mean_over_processes(values: dict[str, float]) -> dict[str, float]:
    """Means over the processes; every process must call it."""
    sums = _over_processes(list(values.values()), torch.distributed.ReduceOp.SUM)
    return {name: value / num_processes() for name, value in zip(values, sums, strict=True)}


def _over_processes(values: list[float], operation: torch.distributed.ReduceOp.RedOpType) -> list[float]:
    if _fabric is None:
        return values
    reduced = torch.tensor(values, dtype=torch.float64)
    torch.distributed.all_reduce(reduced, operation, group=_host_group)
    result: list[float] = reduced.tolist()
    return result


def wait_for_all() -> None:
    """Return when every process has come here."""
    if _fabric is not None:
        _fabric.barrier()


def synchronised(module: nn.Module) -> nn.Module:
    """``module`` with gradients that are means over the processes; on GPUs batch norm's statistics are those of the whole batch."""
    if _fabric is None:
        return module
    if _fabric.device.type == "cuda":
        module = nn.SyncBatchNorm.convert_sync_batchnorm(module)
    wrapped: nn.Module = _fabric.setup_module(module)
    return wrapped


def backward(loss: Tensor) -> None:
    """Gradients of ``loss``, as means over the processes for a ``synchronised`` module."""
    if _fabric is None:
        loss.backward()
    else:
        _fabric.backward(loss)
