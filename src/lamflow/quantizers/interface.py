"""What a quantiser is to the rest of lamflow.

Shapes: B batch, D latent width, K codes of a latent.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor, distributed


class Quantized(NamedTuple):
    """``latents`` [B, D] with the straight-through gradient; ``codes`` int64 [B, K]; ``commitment_loss`` scalar (unweighted): what the
    quantiser itself wants of the latents, 0 where that is nothing."""

    latents: Tensor
    codes: Tensor
    commitment_loss: Tensor


class Quantizer(Protocol):
    """A module between the inverse and the forward dynamics model."""

    def __call__(self, latents_BD: Tensor) -> Quantized:
        """Quantise latents float [B, D]; in training mode it may learn from them."""
        ...

    def decode(self, codes_BK: Tensor) -> Tensor:
        """Codes int64 [B, K] to the latents that they stand for, float32 [B, D]."""
        ...


def several_processes() -> bool:
    """Whether a training is shared by several processes, each of which sees a part of the batch."""
    return distributed.is_available() and distributed.is_initialized()


def summed_over_processes(tensor: Tensor) -> Tensor:
    """The sum of all processes' tensors, in place."""
    if several_processes():
        distributed.all_reduce(tensor)
    return tensor


def of_first_process(tensor: Tensor) -> Tensor:
    """The first process's tensor, in place."""
    if several_processes():
        distributed.broadcast(tensor, src=0)
    return tensor
