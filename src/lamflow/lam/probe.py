"""Action probes: how well the true action can be read from a latent, by a linear map and by an MLP, on episodes not fitted on."""

from __future__ import annotations

import torch
from torch import Tensor

from lamflow.networks.perceptron import mlp
from lamflow.policies.actions import DiscreteActions
from lamflow.training.checkpoint import random_states, restore_random_states, seed_everything
from lamflow.training.loop import Loss, train
from lamflow.training.metrics import MetricsLog
from lamflow.training.settings import TrainingSettings

PROBE_WIDTHS = {"linear": (), "mlp": (128, 128)}
"""Hidden layers; the MLP is LAPO's probe."""
PROBE_TRAINING = TrainingSettings(
    steps=400,
    batch_size=512,
    learning_rate=3e-3,
    warmup_steps=50,
    initial_learning_rate_fraction=0.1,
    final_learning_rate_fraction=0.01,
    adam_epsilon=1e-8,
    weight_decay=0.01,
    clip_norm=2.0,
    precision="float32",
)


def probe_accuracy(
    *,
    fit_latents: Tensor,
    fit_actions: Tensor,
    test_latents: Tensor,
    test_actions: Tensor,
    test_effectful: Tensor,
    space: DiscreteActions,
) -> dict[str, float]:
    """Fit both probes on one set of episodes and judge them on another.

    Latents float32 [N, D], actions int64 [N], ``test_effectful`` bool [N]: transitions that change the frame (an action without
    effect cannot be told from any other). Answers what ``space`` measures of both (``held_out_agreement``), accuracies in [0, 1]:
    ``probe/<kind>_accuracy`` over all test transitions, ``probe/<kind>_accuracy_effectful`` over those that change the frame, and
    ``probe/<kind>_accuracy_classes`` where actions do the same thing. All tensors are on one device.
    """
    states = random_states()
    mean = fit_latents.mean(0)
    std = (fit_latents.std(0) if len(fit_latents) > 1 else torch.ones_like(mean)).clamp_min(1e-6)
    values: dict[str, float] = {}
    for kind, widths in PROBE_WIDTHS.items():
        seed_everything(0)
        network = mlp(fit_latents.shape[1], widths, space.num_outputs).to(fit_latents.device)

        def batch_at(_step: int) -> Tensor:
            return torch.randint(len(fit_latents), (PROBE_TRAINING.batch_size,)).to(fit_latents.device)

        def loss(rows: Tensor, network: torch.nn.Module = network) -> Loss:
            logits = network((fit_latents[rows] - mean) / std)
            return Loss(space.loss(logits, fit_actions[rows]))

        with torch.enable_grad():
            train(
                module=network,
                batch_at=batch_at,
                loss=loss,
                settings=PROBE_TRAINING,
                metrics=MetricsLog(),
                title="",
            )
        with torch.no_grad():
            answers = network((test_latents - mean) / std)
        agreement = space.held_out_agreement(answers, test_actions, test_effectful)
        values |= {f"probe/{kind}_{name}": value for name, value in agreement.items()}
    restore_random_states(states)
    return values
