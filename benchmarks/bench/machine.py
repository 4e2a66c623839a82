"""The machine that a benchmark runs on: what it is, the most it can do, and what a process took of its memory."""

from __future__ import annotations

import os
import platform
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lamflow.checkout import this_checkout
from lamflow.training.precision import Precision, PrecisionSetting, default_device, precision_of, processor_of

SEEN_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
MATRIX_SIDE = {"cpu": 2048, "cuda": 8192}
COPIED_BYTES = {"cpu": 2**28, "cuda": 2**31}
CEILING_SECONDS = 0.3
PLAIN = Precision("float32", "the plain form")


def machine_facts(threads: int) -> dict[str, Any]:
    """What figures depend on: processor, threads, GPU, versions, commit."""
    described = Path("/proc/cpuinfo").read_text(encoding="utf-8") if sys.platform == "linux" else ""
    model = re.search(r"^model name\s*: (.*)$", described, flags=re.MULTILINE)
    flags = re.search(r"^flags\s*: (.*)$", described, flags=re.MULTILINE)
    device = default_device()
    return {
        "processor": model[1] if model else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": threads,
        "flags": [flag for flag in SEEN_FLAGS if flags and flag in flags[1].split()],
        "gpu": torch.cuda.get_device_name() if device.type == "cuda" else None,
        "torch": torch.__version__,
        "kind": processor_of(device),
        "commit": _commit(),
    }


def precision_here(setting: PrecisionSetting, network: nn.Module) -> Precision:
    """What a precision setting means for ``network`` on this machine."""
    return precision_of(setting, network.to(default_device()).parameters())


def not_taken(taken: Precision) -> Precision:
    """The other precision: the arm that has it says whether ``auto`` was right to take ``taken``."""
    return Precision("float32" if taken.name == "bf16" else "bf16", "not what auto takes")


def _commit() -> str:
    """The commit of the checkout, with a + where sources differ from it."""
    checkout = this_checkout()
    return f"{checkout.commit[:7]}{'+' if checkout.uncommitted else ''}" if checkout.commit else "unknown"


def scaled(on_cpu: int, on_gpu: int) -> int:
    """The count that suits this machine."""
    return on_gpu if torch.cuda.is_available() else on_cpu


def wait_for_device() -> None:
    """Return when the GPU, if there is one, has done what was asked of it."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def rate_of(function: Callable[[], object], seconds: float) -> float:
    """Calls a second of ``function`` over at least ``seconds``, after one call that does not count."""
    function()
    wait_for_device()
    started, calls = time.perf_counter(), 0
    while (spent := time.perf_counter() - started) < seconds or not calls:
        function()
        wait_for_device()
        calls += 1
    return calls / spent


class Ceiling:
    """An arm that measures the machine: GFLOP/s of a large matrix product in both precisions, GB/s of a memory copy (bytes read and
    written)."""

    def __init__(self) -> None:
        device = default_device()
        side = MATRIX_SIDE[device.type]
        self._matrix = torch.randn(side, side, device=device)
        self._lower = self._matrix.bfloat16()
        self._source = torch.zeros(COPIED_BYTES[device.type], dtype=torch.uint8, device=device)
        self._target = self._source.clone()
        self._product = {matrix.dtype: torch.empty_like(matrix) for matrix in (self._matrix, self._lower)}

    def __call__(self) -> dict[str, float]:
        """One round."""
        return {
            "float32": self._gflops(self._matrix),
            "bf16": self._gflops(self._lower),
            "copy_gb": 2 * len(self._source) / 1e9 * rate_of(self._copy, CEILING_SECONDS),
        }

    def _gflops(self, matrix: torch.Tensor) -> float:
        product = self._product[matrix.dtype]
        return 2 * len(matrix) ** 3 / 1e9 * rate_of(lambda: torch.mm(matrix, matrix, out=product), CEILING_SECONDS)

    def _copy(self) -> None:
        self._target.copy_(self._source)


def peak_memory() -> dict[str, float]:
    """The most memory that this process has held, in GB: resident on the host, allocated on the GPU."""
    host = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    assert host
    peak = {"peak_host_gb": round(int(host[1]) * 1024 / 1e9, 2)}
    if torch.cuda.is_available():
        peak["peak_device_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 2)
    return peak
