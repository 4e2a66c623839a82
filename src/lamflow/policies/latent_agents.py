"""Decoding: from what a policy answers to probabilities of true actions.

Shapes: B batch, D latent width, T codes a transition, C codes a codebook, A actions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lamflow.models.perceptron import mlp
from lamflow.policies.agents import Decode
from lamflow.policies.decoders import code_one_hot


def action_probabilities(logits_BA: Tensor, _member: int) -> Tensor:
    """Policies in true actions need no decoder."""
    return torch.softmax(logits_BA.float(), dim=-1)


def table_decode(tables: Sequence[Tensor]) -> Decode:
    """P(a | o) = sum over codes of P(code | o) P(a | code): decoding averages over the policy's whole distribution."""
    return lambda logits_BC, member: torch.softmax(logits_BC.float(), dim=-1) @ tables[member]


def mlp_decode(weights: Sequence[dict[str, Tensor]], *, num_tokens: int, num_codes: int) -> Decode:
    """An MLP on the predicted latent, or, where the policy predicts ``num_tokens`` > 0 codes, on the most likely ones."""
    networks = [_mlp_of(part) for part in weights]

    def decode(outputs: Tensor, member: int) -> Tensor:
        inputs = outputs.float()
        if num_tokens:
            inputs = code_one_hot(inputs.unflatten(1, (num_tokens, num_codes)).argmax(-1), num_codes)
        return torch.softmax(networks[member](inputs), dim=-1)

    return decode


def _mlp_of(weights: dict[str, Tensor]) -> torch.nn.Sequential:
    """The network that a decoder's tensors belong to."""
    names = sorted((name for name in weights if name.endswith(".weight")), key=lambda name: int(name.split(".")[0]))
    layers = [weights[name] for name in names]
    network = mlp(layers[0].shape[1], [layer.shape[0] for layer in layers[:-1]], layers[-1].shape[0])
    network.load_state_dict(weights)
    return network.eval()
