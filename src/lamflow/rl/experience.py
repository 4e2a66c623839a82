"""What a rollout leaves behind: buffers to learn from, frames for who listens, and a point of the learning curve.

Legend: T steps of a rollout, E environments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamflow.rl.actor_critic import Encoded
from lamflow.rl.ppo_settings import PpoSettings


class CurvePoint(NamedTuple):
    """After ``env_steps`` environment steps: how many episodes ended in the last rollout, and their mean raw return (NaN: none)."""

    env_steps: int
    episodes: int
    return_mean: float


class EpisodesBegun(NamedTuple):
    """The episodes that began in the rollout after ``env_steps`` environment steps, and their mean raw return (NaN: none began).

    Episodes that ended in a rollout would be the wrong ones to judge a policy by: those that succeed end before those that fail.
    """

    env_steps: int
    episodes: int
    return_mean: float


@dataclass(frozen=True)
class Experience:
    """What was seen and done in a rollout: ``frames`` uint8 [T + 1, E, *frame_shape], ``actions`` int64 [T, E], ``ends`` bool [T, E].

    Where ``ends[t]``, frame t + 1 is the first one of another episode.
    """

    frames: NDArray[np.uint8]
    actions: NDArray[np.int64]
    ends: NDArray[np.bool_]


def reached(curve: list[CurvePoint], target_return: float, patience: int) -> bool:
    """Whether the episodes of each of the last ``patience`` rollouts had at least ``target_return`` on average."""
    last = curve[-patience:]
    return len(last) == patience and all(point.return_mean >= target_return for point in last)


class Rollout:
    """Buffers of one rollout [T, E, ...]; what the learner needs is on its device."""

    def __init__(self, settings: PpoSettings, device: torch.device) -> None:
        self._shape = (settings.num_steps, settings.num_envs)
        self._device = device
        self.encoded: list[Tensor] = []
        self.actions = torch.zeros(self._shape, dtype=torch.int64, device=device)
        self.log_probs = torch.zeros(self._shape, device=device)
        self.values = torch.zeros(self._shape, device=device)
        self.cut_values = torch.zeros(self._shape, device=device)
        self.rewards = np.zeros(self._shape, np.float32)
        self.ends = np.zeros(self._shape, np.bool_)

    def put(self, step: int, columns: slice, encoded: Encoded) -> None:
        """Keep what the policy saw."""
        if not self.encoded:
            self.encoded = [
                torch.zeros((*self._shape, *part.shape[1:]), dtype=part.dtype, device=self._device) for part in encoded
            ]
        for kept, part in zip(self.encoded, encoded, strict=True):
            kept[step, columns] = part
