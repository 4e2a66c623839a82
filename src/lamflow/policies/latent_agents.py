"""Decoding: from what a policy answers to probabilities of true actions.

Shapes: B batch, M members, R rows a member, D latent width, T codes a transition, C codes a codebook, A actions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial

import torch
from torch import Tensor

from lamflow.envs.turns import NUM_TABLES
from lamflow.policies.actions import DiscreteActions
from lamflow.policies.agents import Decode
from lamflow.policies.decoders import code_one_hot


def no_decode(space: DiscreteActions) -> Decode:
    """Policies in true actions need no decoder."""
    return lambda outputs, _members: space.answer(outputs)


def table_decode(tables: Sequence[Tensor]) -> Decode:
    """P(a | o) = sum over codes of P(code | o) P(a | code): decoding averages over the policy's whole distribution."""
    stacked_MCA = torch.stack(list(tables))
    return lambda logits_BC, members: _by_member(
        torch.softmax(logits_BC.float(), dim=-1), members, lambda codes_MRC, present: codes_MRC @ stacked_MCA[present]
    )


def mlp_decode(
    weights: Sequence[dict[str, Tensor]], space: DiscreteActions, *, num_tokens: int, num_codes: int
) -> Decode:
    """An MLP on the latent, or, where the policy predicts ``num_tokens`` > 0 codes, on the most likely ones.

    Features of the observation stand behind latents or codes, where the MLP gets them.
    """
    # Copies, so few: members come and go seldom, and each table of a rollout has its own.
    layers_of = lru_cache(maxsize=2 * NUM_TABLES)(partial(_stacked_layers, weights))

    def logits(inputs_MRD: Tensor, present: Tensor) -> Tensor:
        hidden = inputs_MRD
        for index, (weights_MDO, biases_M1O) in enumerate(layers_of(tuple(present.tolist()))):
            hidden = torch.baddbmm(biases_M1O, hidden.relu() if index else hidden, weights_MDO)
        return hidden

    def decode(outputs: Tensor, members: Tensor) -> Tensor:
        inputs = outputs.float()
        if num_tokens:
            logits_BC, beside = inputs.tensor_split([num_tokens * num_codes], dim=1)
            codes = logits_BC.unflatten(1, (num_tokens, num_codes)).argmax(-1)
            inputs = torch.cat([code_one_hot(codes, num_codes), beside], dim=1)
        return space.answer(_by_member(inputs, members, logits))

    return decode


def _stacked_layers(weights: Sequence[dict[str, Tensor]], present: tuple[int, ...]) -> list[tuple[Tensor, Tensor]]:
    """The linear layers of some members' MLPs (see ``models.perceptron``): weights [M, D, O] and biases [M, 1, O], first to last."""
    places = sorted(int(name.split(".")[0]) for name in weights[0] if name.endswith(".weight"))
    return [
        (
            torch.stack([weights[member][f"{place}.weight"].T for member in present]),
            torch.stack([weights[member][f"{place}.bias"] for member in present])[:, None],
        )
        for place in places
    ]


def _by_member(inputs_BD: Tensor, members: Tensor, compute: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
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
