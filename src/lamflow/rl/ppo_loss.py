"""PPO's loss of a minibatch (Schulman et al. 2017, arXiv 1707.06347).

Legend: M transitions of a minibatch, P numbers of a distribution.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lamflow.policies.actions import Actions
from lamflow.rl.actor_critic import Encoded
from lamflow.training.loop import Loss

NO_EPISODE = torch.tensor(float("nan"))


@dataclass(frozen=True)
class Minibatch:
    """``encoded``: what the policy saw, [M, ...]; ``samples`` [M, ...] (see ``Actions``); the others float32 [M], of the policy that acted.

    ``recent_return``: mean raw return of the last episodes, float32 scalar; of no use to the loss, which logs it.
    """

    encoded: Encoded
    samples: Tensor
    log_probs: Tensor
    values: Tensor
    advantages: Tensor
    recent_return: Tensor = NO_EPISODE


def ppo_loss(
    space: Actions,
    distributions_MP: Tensor,
    values_M: Tensor,
    batch: Minibatch,
    *,
    clip_range: float,
    value_coefficient: float,
    entropy_coefficient: float,
    clip_values: bool = True,
    advantage_epsilon: float = 1e-8,
) -> Loss:
    """PPO's clipped objective, (clipped) value loss and entropy bonus, for the present policy's answers to ``batch``."""
    taken = space.log_density(distributions_MP, batch.samples)
    ratio = (taken - batch.log_probs).exp()
    advantages = (batch.advantages - batch.advantages.mean()) / (batch.advantages.std() + advantage_epsilon)
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
    policy_loss = -torch.minimum(ratio * advantages, clipped * advantages).mean()
    targets = batch.values + batch.advantages
    errors = (values_M - targets).square()
    if clip_values:
        near = batch.values + (values_M - batch.values).clamp(-clip_range, clip_range)
        errors = torch.maximum(errors, (near - targets).square())
    value_loss = 0.5 * errors.mean()
    entropy = space.entropy(distributions_MP).mean()
    total = policy_loss + value_coefficient * value_loss - entropy_coefficient * entropy
    terms = {"loss/policy": policy_loss, "loss/value": value_loss, "entropy": entropy}
    return Loss(total, {name: term.detach() for name, term in terms.items()})
