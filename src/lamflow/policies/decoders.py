"""Action decoders: from a latent action to the true action, learnt from a few labels.

Shapes: B batch, D latent width, C codes, A actions, M members (one a label count and label draw).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from lamflow.data.windows import TransitionStream
from lamflow.networks.perceptron import mlp
from lamflow.policies.actions import DiscreteActions
from lamflow.policies.settings import DecoderSettings
from lamflow.training.checkpoint import seed_everything
from lamflow.training.loop import Loss, train
from lamflow.training.metrics import MetricsLog
from lamflow.training.precision import default_device


def fit_mlp_decoder(
    inputs_ND: Tensor, actions_N: Tensor, *, space: DiscreteActions, settings: DecoderSettings, seed: int
) -> nn.Sequential:
    """Train a decoder on N labelled inputs (latents, or one-hot codes, perhaps with features of the observation behind them)
    float32 [N, D] and their actions int64 [N], on the default device."""
    seed_everything(seed)
    device = default_device()
    inputs_ND, actions_N = inputs_ND.to(device), actions_N.to(device)
    network = mlp(inputs_ND.shape[1], settings.hidden_widths, space.num_outputs).to(device)
    stream = TransitionStream(torch.arange(len(inputs_ND), device=device), settings.training.batch_size, seed)

    def loss(rows: Tensor) -> Loss:
        logits = network(inputs_ND[rows])
        return Loss(space.loss(logits, actions_N[rows], label_smoothing=settings.label_smoothing))

    train(module=network, batch_at=stream.batch, loss=loss, settings=settings.training, metrics=MetricsLog(), title="")
    return network


def code_one_hot(codes_NT: Tensor, num_codes: int) -> Tensor:
    """Codes int64 [N, T] as concatenated one-hot vectors, float32 [N, T * C]."""
    return functional.one_hot(codes_NT, num_codes).flatten(1).float()


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
