"""Decoders that are networks.

Shapes: B batch, N labelled transitions, D input width, O layer width, T codes per transition, C codes per codebook,
M members, R rows per member.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from torch import Tensor, nn

from lamflow.data.windows import TransitionStream
from lamflow.networks.perceptron import mlp
from lamflow.policies.actions import Actions
from lamflow.policies.decoders import Decode, Weights, by_member, code_one_hot
from lamflow.policies.mlp_decoder_settings import MlpDecoderSettings
from lamflow.training.checkpoint import seed_everything
from lamflow.training.loop import Loss, train
from lamflow.training.metrics import MetricsLog
from lamflow.training.precision import Precision, default_device, precision_of

KEPT_STACKS = 4
"""Copies of layers, so few: members come and go seldom, and each of the two tables of a rollout has its own."""


@dataclass(frozen=True)
class MlpDecoder:
    """See ``lamflow.policies.decoders.Decoder``."""

    settings: MlpDecoderSettings
    space: Actions
    num_tokens: int
    num_codes: int

    @property
    def _learnt(self) -> Actions:
        return self.space.learnt_by(self.settings.box_loss)

    def network(self, width: int) -> nn.Sequential:
        """An MLP."""
        return mlp(width, self.settings.hidden_widths, self._learnt.num_outputs)

    def fit(self, inputs: Tensor, features_NF: Tensor, actions_N: Tensor, seed: int) -> tuple[Weights, Precision]:
        """A network on latents or one-hot codes, with the features behind them."""
        values = code_one_hot(inputs, self.num_codes) if self.num_tokens else inputs
        joined = torch.cat([values, features_NF], dim=1)
        network = fit_mlp_decoder(joined, actions_N, space=self._learnt, settings=self.settings, seed=seed)
        precision = precision_of(self.settings.training.precision, network.parameters())
        return network.state_dict(), precision

    def decode(self, weights: Sequence[Weights]) -> Decode:
        """See ``mlp_decode``."""
        return mlp_decode(weights, self._learnt, num_tokens=self.num_tokens, num_codes=self.num_codes)


def fit_mlp_decoder(
    inputs_ND: Tensor, actions_N: Tensor, *, space: Actions, settings: MlpDecoderSettings, seed: int
) -> nn.Sequential:
    """Train a decoder on N labelled inputs (latents, or one-hot codes, perhaps with features of the observation behind them)
    float32 [N, D] and their actions [N, ...], on the default device."""
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


def mlp_decode(weights: Sequence[Weights], space: Actions, *, num_tokens: int, num_codes: int) -> Decode:
    """An MLP on the latent, or, where the policy predicts ``num_tokens`` > 0 codes, on the most likely ones.

    Features of the observation stand behind latents or codes, where the MLP gets them.
    """
    layers_of = lru_cache(maxsize=KEPT_STACKS)(partial(_stacked_layers, weights))

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
        return space.answer(by_member(inputs, members, logits))

    return decode


def _stacked_layers(weights: Sequence[Weights], present: tuple[int, ...]) -> list[tuple[Tensor, Tensor]]:
    """The linear layers of some members' MLPs (see ``models.perceptron``): weights [M, D, O] and biases [M, 1, O], first to last."""
    places = sorted(int(name.split(".")[0]) for name in weights[0] if name.endswith(".weight"))
    return [
        (
            torch.stack([weights[member][f"{place}.weight"].T for member in present]),
            torch.stack([weights[member][f"{place}.bias"] for member in present])[:, None],
        )
        for place in places
    ]
