"""Behaviour cloning: one procedure for true actions, latent actions and codes.

Shapes: B batch, M rows, A actions, D latent width, T codes a transition, C codes a codebook.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from lamflow.catalogue import EnvironmentSpec
from lamflow.config import PolicySettings
from lamflow.data.tensors import EpisodeTensors
from lamflow.data.windows import TransitionStream
from lamflow.policies.dataset import INFERENCE_BATCH, policy_inputs
from lamflow.policies.network import PolicyInputs, PolicyNetwork
from lamflow.training.checkpoint import seed_everything
from lamflow.training.loop import Loss, Watched, train
from lamflow.training.metrics import MetricsLog
from lamflow.training.precision import default_device
from lamflow.training.processes import share_of

VALIDATION_ROWS = 8192
"""Rows, at most, that a validation looks at, always the same ones."""
Objective = Callable[[Tensor, Tensor], Tensor]
"""(outputs [B, O], targets [B, ...]) to a mean loss."""


def action_objective(logits_BA: Tensor, actions_B: Tensor) -> Tensor:
    """Cross-entropy of the true or pseudo-labelled action, nats."""
    return functional.cross_entropy(logits_BA.float(), actions_B)


def latent_objective(predicted_BD: Tensor, latents_BD: Tensor) -> Tensor:
    """Mean squared error against the pre-quantisation latent (LAPO)."""
    return functional.mse_loss(predicted_BD.float(), latents_BD)


def code_objective(logits_BTC: Tensor, codes_BT: Tensor) -> Tensor:
    """Cross-entropy of the codes, nats, averaged over the tokens; logits [B, T * C]."""
    logits = logits_BTC.float().unflatten(1, (codes_BT.shape[1], -1))
    return functional.cross_entropy(logits.flatten(0, 1), codes_BT.flatten())


@dataclass(frozen=True)
class Examples:
    """Rows int64 [M] of a split and a target for each, [M, ...], both on the device of ``data``."""

    data: EpisodeTensors
    rows: Tensor
    targets: Tensor

    def sample(self, count: int) -> Tensor:
        """At most ``count`` numbers of examples, int64, always the same ones: all, in order, or a random part."""
        if len(self.rows) <= count:
            return torch.arange(len(self.rows), device=self.data.device)
        order = torch.randperm(len(self.rows), generator=torch.Generator().manual_seed(0))
        return order[:count].to(self.data.device)


def clone(
    *,
    spec: EnvironmentSpec,
    settings: PolicySettings,
    output_dim: int,
    objective: Objective,
    train_examples: Examples,
    validation_examples: Examples | None,
    seed: int,
    metrics: MetricsLog,
    state_dir: Path | None,
    identity: str,
    title: str,
) -> PolicyNetwork:
    """Train a policy network on examples, on the default device; deterministic in its arguments.

    The validation loss is the mean over at most ``VALIDATION_ROWS`` of ``validation_examples``.
    """
    seed_everything(seed)
    network = PolicyNetwork(settings=settings, spec=spec, output_dim=output_dim).to(default_device())
    numbers = torch.arange(len(train_examples.rows), device=train_examples.data.device)
    stream = TransitionStream(numbers, settings.training.batch_size, seed)

    def batch_of(examples: Examples, picks: Tensor) -> tuple[PolicyInputs, Tensor]:
        return policy_inputs(examples.data, examples.rows[picks], settings), examples.targets[picks]

    def loss(batch: tuple[PolicyInputs, Tensor]) -> Loss:
        inputs, targets = batch
        return Loss(objective(network(inputs), targets))

    def validate() -> dict[str, float]:
        assert validation_examples is not None
        picks = validation_examples.sample(VALIDATION_ROWS)
        parts = picks.split(INFERENCE_BATCH)
        total = sum(loss(batch_of(validation_examples, part)).total.item() * len(part) for part in parts)
        return {"loss/total": total / len(picks)}

    train(
        module=network,
        batch_at=lambda step: batch_of(train_examples, share_of(stream.batch(step))),
        loss=loss,
        settings=settings.training,
        metrics=metrics,
        validate=validate if validation_examples is not None else None,
        watched=Watched("loss/total") if validation_examples is not None else None,
        state_dir=state_dir,
        identity=identity,
        title=title,
    )
    return network
