"""What PPO makes of rewards: generalised advantage estimates and normalised rewards.

Legend: T steps of a rollout, E environments.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

REWARD_CLIP = 10.0


def generalised_advantages(
    rewards_TE: Tensor,
    values_TE: Tensor,
    last_values_E: Tensor,
    ends_TE: Tensor,
    *,
    discount: float,
    gae_lambda: float,
    cut_values_TE: Tensor | None = None,
) -> Tensor:
    """Generalised advantage estimates float32 [T, E] (Schulman et al. 2016, arXiv 1506.02438).

    ``ends_TE`` bool: the episode ended with this step, so nothing behind it counts, but for ``cut_values_TE``: the value of
    the last observation of an episode that the step limit cut, 0 elsewhere (Pardo et al. 2018, arXiv 1712.00378).
    ``last_values_E``: values of the observations after the rollout.
    """
    if cut_values_TE is not None:
        rewards_TE = rewards_TE + discount * cut_values_TE
    advantages = torch.zeros_like(rewards_TE)
    later, next_values = torch.zeros_like(last_values_E), last_values_E
    for step in range(len(rewards_TE) - 1, -1, -1):
        goes_on = (~ends_TE[step]).float()
        delta = rewards_TE[step] + discount * next_values * goes_on - values_TE[step]
        later = delta + discount * gae_lambda * goes_on * later
        advantages[step] = later
        next_values = values_TE[step]
    return advantages


class RewardNormaliser:
    """Divides rewards by the running standard deviation of the discounted return, and clips them to +-10.

    The way of OpenAI Baselines' VecNormalize: each environment's return is accumulated step by step and starts anew with an
    episode; mean and variance are merged batch by batch (Chan et al. 1979).
    """

    def __init__(self, num_envs: int, discount: float) -> None:
        self.discount = discount
        self.returns = np.zeros(num_envs)
        self.mean, self.variance, self.count = 0.0, 1.0, 1e-4

    def __call__(self, rewards: NDArray[np.float32], ends: NDArray[np.bool_]) -> NDArray[np.float32]:
        """The normalised ``rewards`` float32 [E] of one step, after which the episodes of ``ends`` [E] are over."""
        self.returns = self.returns * self.discount + rewards
        self._merge(float(self.returns.mean()), float(self.returns.var()), len(rewards))
        self.returns[ends] = 0
        scaled = rewards / np.sqrt(self.variance + 1e-8)
        return np.clip(scaled, -REWARD_CLIP, REWARD_CLIP).astype(np.float32)

    def _merge(self, mean: float, variance: float, count: int) -> None:
        total = self.count + count
        delta = mean - self.mean
        squares = self.variance * self.count + variance * count + delta**2 * self.count * count / total
        self.mean, self.variance, self.count = self.mean + delta * count / total, squares / total, total

    def state_dict(self) -> dict[str, Any]:
        return {"returns": self.returns.copy(), "mean": self.mean, "variance": self.variance, "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.returns = state["returns"].copy()
        self.mean, self.variance, self.count = state["mean"], state["variance"], state["count"]
