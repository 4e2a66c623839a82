"""Whether a training's loss is compiled, and how."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch

COMPILED_STEPS = 5000
"""Shortest training that ``auto`` compiles: compiling takes about a minute."""


def compiles(choice: Literal["auto", "off"], device: torch.device, steps: int) -> bool:
    """``auto``: long trainings on a GPU. Compiled code was slower on a CPU, where oneDNN does most of the work anyway."""
    return choice == "auto" and device.type == "cuda" and steps >= COMPILED_STEPS


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` for inputs of the same shapes at each call, its kernels fused and replayed as CUDA graphs.

    What it answers is overwritten by its next call.
    """
    torch.compiler.reset()  # a network compiled before would count as a recompilation of this one
    replayed: Callable[..., Any] = torch.compile(function, fullgraph=True, dynamic=False, mode="reduce-overhead")

    def call(*arguments: Any) -> Any:
        torch.compiler.cudagraph_mark_step_begin()
        return replayed(*arguments)

    return call
