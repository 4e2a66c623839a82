"""In which precision networks compute: what ``precision: auto`` takes on which processor, and the autocast of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

PrecisionName = Literal["float32", "bf16"]
PrecisionSetting = Literal["auto", "float32", "bf16"]
Processor = Literal[
    "GPU with bf16", "GPU without bf16", "CPU with AMX", "CPU with AVX512_BF16", "CPU without AMX and AVX512_BF16"
]
"""What counts of what a network computes on. AVX512_BF16 (AMD EPYC from Genoa on, Intel Cooper Lake) makes matrix products of bf16
up to twice as fast as those of float32, AMX and GPUs many times as fast; without them they are slower."""
AVX512_BF16_PARAMETERS = 50_000
"""Smallest network for which ``auto`` takes bf16 on a CPU with AVX512_BF16 and no AMX: LAMs and policies of the shipped studies are
larger, decoders of latents are smaller and would be slower. docs/performance.md has what was measured."""


@dataclass(frozen=True)
class Precision:
    """The precision that a network computes in, and why."""

    name: PrecisionName
    reason: str

    def __str__(self) -> str:
        return f"{self.name} ({self.reason})"

    def resumed(self, name: PrecisionName) -> Precision:
        """What a checkpoint says, ``name``, for a training that would begin with ``self`` here."""
        return self if name == self.name else Precision(name, f"kept from the checkpoint; begun here: {self}")


def default_device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def processor_of(device: torch.device) -> Processor:
    """What torch says of the GPU, or of the CPU's instructions."""
    if device.type == "cuda":
        return "GPU with bf16" if torch.cuda.is_bf16_supported() else "GPU without bf16"
    return cpu_with(torch.cpu.get_capabilities())


def cpu_with(capabilities: Mapping[str, Any]) -> Processor:
    """The CPU of which ``torch.cpu.get_capabilities`` says this; what is not named is not there."""
    if capabilities.get("amx_bf16"):
        return "CPU with AMX"
    return "CPU with AVX512_BF16" if capabilities.get("avx512_bf16") else "CPU without AMX and AVX512_BF16"


def automatic_precision(processor: Processor, num_parameters: int) -> Precision:
    """What ``precision: auto`` is there for a network of this size."""
    size = f"{num_parameters / 1e6:.3g} M parameters"
    if processor in ("GPU with bf16", "CPU with AMX"):
        return Precision("bf16", f"{processor}, {size}")
    if processor == "CPU with AVX512_BF16":
        if num_parameters >= AVX512_BF16_PARAMETERS:
            return Precision("bf16", f"{processor}, {size}")
        return Precision("float32", f"{processor}, {size}; bf16 gains from {AVX512_BF16_PARAMETERS / 1e6:.3g} M on")
    return Precision("float32", f"{processor}, {size}")


def precision_of(setting: PrecisionSetting, parameters: Iterable[nn.Parameter]) -> Precision:
    """What a precision setting means for the network of these parameters, on the device that they are on."""
    if setting != "auto":
        return Precision(setting, "as set")
    given = list(parameters)
    return automatic_precision(processor_of(given[0].device), sum(parameter.numel() for parameter in given))


def autocast(precision: PrecisionName, device: torch.device) -> AbstractContextManager[object]:
    """The autocast context of a precision; float32 also switches off an autocast around it."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
