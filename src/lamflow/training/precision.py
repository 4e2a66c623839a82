"""Which autocast precision gains on which device."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Literal

import torch


def default_device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def bf16_gains(device: torch.device) -> bool:
    """True where bfloat16 matrix products are faster than float32: GPUs that have them, and CPUs with AMX."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return bool(torch.cpu._is_amx_tile_supported())


def autocast(precision: Literal["auto", "float32", "bf16"], device: torch.device) -> AbstractContextManager[object]:
    """The autocast context of a precision setting; float32 also switches off an autocast around it."""
    lower = precision == "bf16" or (precision == "auto" and bf16_gains(device))
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=lower)
