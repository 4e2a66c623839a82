"""Action probes: how well the true action can be read from a latent, by a linear map and by an MLP, on episodes not fitted on.

Shapes: N transitions, D latent width, A actions, or entries of one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from lamflow.envs.spec import EnvironmentSpec
from lamflow.networks.perceptron import mlp
from lamflow.policies.actions import DiscreteActions
from lamflow.spaces import Box
from lamflow.training.agreement import r_squared
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


class Probed(NamedTuple):
    """Transitions of which the true action is known: ``latents`` float32 [N, D] before quantisation, and ``actions`` int64 [N] or float32
    [N, A]. All tensors of probes are on one device."""

    latents: Tensor
    actions: Tensor


def probe_metrics(spec: EnvironmentSpec, fitted: Probed, tested: Probed, effectful_N: Tensor) -> dict[str, float]:
    """Fit both probes on one set of episodes and judge them on another, ``probe/<kind>_<measure>``: accuracies of discrete actions, R² of
    continuous ones. ``effectful_N`` bool [N]: the tested transitions that change the frame."""
    if isinstance(spec.action, Box):
        return probe_r_squared(fitted, tested, effectful_N)
    return probe_accuracy(
        fit_latents=fitted.latents,
        fit_actions=fitted.actions,
        test_latents=tested.latents,
        test_actions=tested.actions,
        test_effectful=effectful_N,
        space=DiscreteActions.of(spec),
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
    values: dict[str, float] = {}
    for kind in PROBE_WIDTHS:
        read = _trained(kind, fit_latents, fit_actions, space.num_outputs, space.loss)
        agreement = space.held_out_agreement(read(test_latents), test_actions, test_effectful)
        values |= {f"probe/{kind}_{name}": value for name, value in agreement.items()}
    return values


def probe_r_squared(fitted: Probed, tested: Probed, effectful_N: Tensor) -> dict[str, float]:
    """Of continuous actions the R² on tested transitions, for each entry of an action, ``probe/<kind>_r2_entry<i>``; their mean,
    ``probe/<kind>_r2``; and the mean on transitions that change the frame, ``probe/<kind>_r2_effectful``.

    The linear probe is the least squares solution, and the MLP learns squared errors of standardised actions.
    """
    std, mean = torch.std_mean(fitted.actions, 0, correction=0)
    scale = torch.where(std > 0, std, 1.0)
    network = _trained("mlp", fitted.latents, (fitted.actions - mean) / scale, fitted.actions.shape[1], _squared_error)
    predictions = {
        "linear": _least_squares(fitted, tested.latents),
        "mlp": network(tested.latents) * scale + mean,
    }
    values: dict[str, float] = {}
    for kind, predicted in predictions.items():
        each = r_squared(predicted, tested.actions)
        effectful = r_squared(predicted[effectful_N], tested.actions[effectful_N])
        values |= {f"probe/{kind}_r2": each.nanmean().item(), f"probe/{kind}_r2_effectful": effectful.nanmean().item()}
        values |= {f"probe/{kind}_r2_entry{index}": value for index, value in enumerate(each.tolist())}
    return values


def _squared_error(answers_BA: Tensor, actions_BA: Tensor) -> Tensor:
    return functional.mse_loss(answers_BA.float(), actions_BA)


def _least_squares(fitted: Probed, latents_ND: Tensor) -> Tensor:
    """float32 [N, A]: what the linear map that is nearest to the fitted actions reads off other latents."""

    def with_constant(latents: Tensor) -> Tensor:
        # On the CPU, which alone has a driver for latents of less than full rank.
        return functional.pad(latents.double().cpu(), (0, 1), value=1.0)

    solved = torch.linalg.lstsq(with_constant(fitted.latents), fitted.actions.double().cpu(), driver="gelsd").solution
    return (with_constant(latents_ND) @ solved).float().to(latents_ND.device)


def _trained(
    kind: str, latents_ND: Tensor, actions_N: Tensor, num_outputs: int, loss_of: Callable[[Tensor, Tensor], Tensor]
) -> Callable[[Tensor], Tensor]:
    """What answers latents as a probe that was trained on others; torch's random states stay as they were."""
    states = random_states()
    mean = latents_ND.mean(0)
    std = (latents_ND.std(0) if len(latents_ND) > 1 else torch.ones_like(mean)).clamp_min(1e-6)
    seed_everything(0)
    network: nn.Module = mlp(latents_ND.shape[1], PROBE_WIDTHS[kind], num_outputs).to(latents_ND.device)

    def batch_at(_step: int) -> Tensor:
        return torch.randint(len(latents_ND), (PROBE_TRAINING.batch_size,)).to(latents_ND.device)

    def loss(rows: Tensor) -> Loss:
        return Loss(loss_of(network((latents_ND[rows] - mean) / std), actions_N[rows]))

    with torch.enable_grad():
        train(module=network, batch_at=batch_at, loss=loss, settings=PROBE_TRAINING, metrics=MetricsLog(), title="")
    restore_random_states(states)

    @torch.no_grad()
    def read(latents: Tensor) -> Tensor:
        answers: Tensor = network((latents - mean) / std)
        return answers

    return read
