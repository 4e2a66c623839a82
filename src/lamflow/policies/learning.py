"""Behaviour cloning: one procedure for true actions, latent actions and codes.

Shapes: B batch, M rows, D latent width, T codes per transition, C codes per codebook.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor
from torch.nn import functional

from lamflow.data.held_windows import HeldWindows
from lamflow.data.tensors import EpisodeTensors
from lamflow.data.windows import Window
from lamflow.envs.spec import EnvironmentSpec
from lamflow.policies.dataset import policy_inputs, policy_window
from lamflow.policies.inputs import PolicyInputs
from lamflow.policies.latent_heads import LatentHead
from lamflow.policies.network import PolicyNetwork
from lamflow.policies.settings import PolicySettings
from lamflow.training.checkpoint import seed_everything
from lamflow.training.loop import Evaluations, Loss, Watched, train
from lamflow.training.metrics import MetricsLog
from lamflow.training.precision import default_device

VALIDATION_ROWS = 8192
"""Rows, at most, that a validation looks at, always the same ones."""
Objective = Callable[[Tensor, Tensor], Tensor]
"""(outputs [B, O], targets [B, ...]) to a mean loss."""


def latent_objective(predicted_BD: Tensor, latents_BD: Tensor) -> Tensor:
    """Mean squared error against the pre-quantisation latent (LAPO)."""
    return functional.mse_loss(predicted_BD.float(), latents_BD)


def code_objective(logits_BTC: Tensor, codes_BT: Tensor) -> Tensor:
    """Cross-entropy of the codes, nats, averaged over the tokens; logits [B, T * C]."""
    logits = logits_BTC.float().unflatten(1, (codes_BT.shape[1], -1))
    return functional.cross_entropy(logits.flatten(0, 1), codes_BT.flatten())


@dataclass(frozen=True)
class Examples:
    """Rows int64 [M] of a split, and the column of ``data`` that holds their targets."""

    data: EpisodeTensors
    rows: Tensor
    target: str

    def sample(self, count: int, settings: PolicySettings, spec: EnvironmentSpec) -> HeldWindows:
        """At most ``count`` of them, as a policy sees them, in memory, always the same ones: all, in order, or a random part."""
        rows = self.rows
        if len(rows) > count:
            rows = self.data.some_of(rows, count)
        return self.data.part(policy_window(settings, spec, self.target), rows)


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
    head: LatentHead | None = None,
    evaluations: Evaluations | None = None,
) -> PolicyNetwork:
    """Train a policy network on examples, on the default device; deterministic in its arguments.

    ``head``: a new one, which becomes a part of the network; ``objective`` is its loss then.
    The validation loss is the mean over at most ``VALIDATION_ROWS`` of ``validation_examples``. ``evaluations`` measure the network.
    """
    seed_everything(seed)
    network = PolicyNetwork(settings=settings, spec=spec, output_dim=output_dim, head=head).to(default_device())
    network.standardise(train_examples.data.moments())
    held_out = validation_examples.sample(VALIDATION_ROWS, settings, spec) if validation_examples is not None else None

    def batch_of(window: Window, target: str) -> tuple[PolicyInputs, Tensor]:
        return policy_inputs(window, spec), window.at(target)

    def loss(batch: tuple[PolicyInputs, Tensor]) -> Loss:
        inputs, targets = batch
        return Loss(objective(network(inputs), targets))

    def validate() -> dict[str, float]:
        assert held_out is not None and validation_examples is not None
        batches = (batch_of(window, validation_examples.target) for window in held_out.windows())
        losses = (loss(batch).total.item() * len(batch[1]) for batch in batches)
        return {"loss/total": sum(losses) / len(held_out.rows)}

    data, rows, target = train_examples.data, train_examples.rows, train_examples.target
    with data.stream(policy_window(settings, spec, target), rows, settings.training.batch_size, seed) as stream:
        train(
            module=network,
            batch_at=lambda step: batch_of(stream.window(step), target),
            loss=loss,
            settings=settings.training,
            metrics=metrics,
            validate=validate if held_out else None,
            watched=Watched("loss/total") if held_out else None,
            state_dir=state_dir,
            identity=identity,
            title=title,
            evaluations=evaluations,
        )
    return network
