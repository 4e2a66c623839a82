"""Action decoders: from a latent action to the true action, learnt from a few labels. A decoder is two files of this room.

Shapes: B batch, N labelled transitions, D latent width, T codes per transition, C codes per codebook,
M members, R rows per member, A actions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

from lamflow.policies.actions import Actions
from lamflow.training.precision import Precision

Weights = Mapping[str, Tensor]
"""Of one decoder, by name."""
Decode = Callable[[Tensor, Tensor], Tensor]
"""(what is decoded float32 [B, O], its members int64 [B]), both on the CPU, to answers in true actions [B, A]
(``Actions.answer``): decoders are too small for a GPU. Decoded are a policy's outputs, or latents that its head draws, with the
policy's features behind them where decoders see the observation."""


@runtime_checkable
class DecodeApart(Protocol):
    """A ``Decode`` that also gives what it does for one member, as a module that can leave lamflow (``lamflow.exporting``)."""

    def __call__(self, decoded_BO: Tensor, members: Tensor) -> Tensor: ...

    def of_member(self, member: int) -> nn.Module:
        """From what is decoded, float32 [B, O], to the member's answers [B, A]."""
        ...


class Decoder(Protocol):
    """How labels make a decoder, and decoders make actions of a policy's answers."""

    def network(self, width: int) -> nn.Module | None:
        """What is trained on inputs float [N, width], before it is; None where that is no network."""
        ...

    def fit(
        self, inputs: Tensor, features_NF: Tensor, actions_N: Tensor, seed: int
    ) -> tuple[Weights, Precision | None]:
        """A decoder of latents float32 [N, D], or of codes int64 [N, T] where the policy answers codes, and of the policy's features
        (F is 0 where decoders do not see the observation); and the precision that it was trained in, None of what computes nothing."""
        ...

    def decode(self, weights: Sequence[Weights]) -> Decode:
        """The decoders of all members as one function."""
        ...


@dataclass(frozen=True)
class NoDecode:
    """See ``DecodeApart``."""

    space: Actions

    def __call__(self, outputs: Tensor, members: Tensor) -> Tensor:
        return self.space.answer(outputs)

    def of_member(self, member: int) -> nn.Module:
        """The same for all of them."""
        return Answering(nn.Identity(), self.space)


class Answering(nn.Module):
    """What a network says, as an answer in true actions (``Actions.answer``)."""

    def __init__(self, network: nn.Module, space: Actions) -> None:
        super().__init__()
        self.network, self.space = network, space

    def forward(self, inputs: Tensor) -> Tensor:
        """Float32 [B, O] to [B, A]."""
        return self.space.answer(self.network(inputs.float()))


def no_decode(space: Actions) -> NoDecode:
    """Policies in true actions need no decoder."""
    return NoDecode(space)


def code_one_hot(codes_NT: Tensor, num_codes: int) -> Tensor:
    """Codes int64 [N, T] as concatenated one-hot vectors, float32 [N, T * C]."""
    return functional.one_hot(codes_NT, num_codes).flatten(1).float()


def by_member(inputs_BD: Tensor, members: Tensor, compute: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """``compute`` for the rows of all members at once; its answers, a row each, in the order of the rows.

    It gets inputs [M, R, D], padded with zeros to the rows of the member that has most, and which members int64 [M] they are of: one
    batched product is several times as fast as a product a member.
    """
    present, place, counts = members.unique(return_inverse=True, return_counts=True)
    order = place.argsort(stable=True)
    row = torch.empty_like(order)
    row[order] = torch.arange(len(order)) - (counts.cumsum(0) - counts).repeat_interleave(counts)
    padded = inputs_BD.new_zeros(len(present), int(counts.max()), inputs_BD.shape[1])
    padded[place, row] = inputs_BD
    return compute(padded, present)[place, row]
