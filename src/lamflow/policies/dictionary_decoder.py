"""Decoders that are tables of codes and actions.

Shapes: B batch, N labelled transitions, C codes, A actions, M members, R rows per member.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lamflow.policies.actions import Actions, DiscreteActions
from lamflow.policies.decoders import Weights, by_member
from lamflow.policies.dictionary_decoder_settings import DictionaryDecoderSettings


@dataclass(frozen=True)
class DictionaryDecoder:
    """See ``lamflow.policies.decoders.Decoder``."""

    settings: DictionaryDecoderSettings
    space: Actions
    num_tokens: int
    num_codes: int

    def network(self, width: int) -> None:
        """A table is counted."""

    def fit(self, inputs: Tensor, features_NF: Tensor, actions_N: Tensor, seed: int) -> tuple[Weights, None]:
        """See ``code_action_table``; there are no features."""
        assert self.num_tokens == 1 and isinstance(self.space, DiscreteActions), (
            "settings refuse what cannot be counted"
        )
        table = code_action_table(
            inputs[:, 0],
            actions_N,
            num_codes=self.num_codes,
            num_actions=self.space.count,
            smoothing=self.settings.smoothing,
        )
        return {"table": table}, None

    def decode(self, weights: Sequence[Weights]) -> TableDecode:
        """See ``table_decode``."""
        return table_decode([part["table"] for part in weights])


def code_action_table(
    codes_N: Tensor, actions_N: Tensor, *, num_codes: int, num_actions: int, smoothing: float
) -> Tensor:
    """P(action | code) float32 [C, A] from labelled codes: counts smoothed towards the labels' own action frequencies.

    p(a | c) = (n_ca + s * p(a)) / (n_c + s), with p(a) = (n_a + 1) / (N + A): a code without labels gets p(a).
    Decoding codes by a table is Genie's way (Bruce et al. 2024).
    """
    counts = torch.zeros(num_codes, num_actions)
    counts.index_put_((codes_N, actions_N), torch.ones(len(codes_N)), accumulate=True)
    prior = (counts.sum(0) + 1) / (len(codes_N) + num_actions)
    return (counts + smoothing * prior) / (counts.sum(1, keepdim=True) + smoothing)


def table_decode(tables: Sequence[Tensor]) -> TableDecode:
    """The tables of all members."""
    return TableDecode(torch.stack(list(tables)))


@dataclass(frozen=True)
class TableDecode:
    """P(a | o) = sum over codes of P(code | o) P(a | code): decoding averages over the policy's whole distribution.

    See ``lamflow.policies.decoders.DecodeApart``; ``tables_MCA``: P(a | code) of each member.
    """

    tables_MCA: Tensor

    def __call__(self, logits_BC: Tensor, members: Tensor) -> Tensor:
        return by_member(
            torch.softmax(logits_BC.float(), dim=-1),
            members,
            lambda codes_MRC, present: codes_MRC @ self.tables_MCA[present],
        )

    def of_member(self, member: int) -> nn.Module:
        """Its table."""
        return _Table(self.tables_MCA[member].clone())


class _Table(nn.Module):
    table_CA: Tensor

    def __init__(self, table_CA: Tensor) -> None:
        super().__init__()
        self.register_buffer("table_CA", table_CA)

    def forward(self, logits_BC: Tensor) -> Tensor:
        return torch.softmax(logits_BC.float(), dim=-1) @ self.table_CA
