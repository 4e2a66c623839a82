"""What a rollout leaves behind: buffers to learn from, frames for who listens, and a point of the learning curve.

Legend: T steps of a rollout, E environments, G environments of a group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamflow.envs.interface import StepResult
from lamflow.policies.actions import Actions
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
    """What was seen and done in a rollout: ``frames`` uint8 [T + 1, E, *frame_shape], ``actions`` [T, E, ...], ``ends`` bool [T, E].

    Where ``ends[t]``, frame t + 1 is the first one of another episode.
    """

    frames: NDArray[np.uint8]
    actions: NDArray[Any]
    ends: NDArray[np.bool_]


def reached(curve: list[CurvePoint], target_return: float, patience: int) -> bool:
    """Whether the episodes of each of the last ``patience`` rollouts had at least ``target_return`` on average."""
    last = curve[-patience:]
    return len(last) == patience and all(point.return_mean >= target_return for point in last)


class Answer(NamedTuple):
    """Of a policy in G environments: what it saw of them, ``samples`` [G, ...] drawn (see ``Actions``), their ``log_probs`` and ``values``,
    float32 [G]."""

    encoded: Encoded
    samples: Tensor
    log_probs: Tensor
    values: Tensor


class Rollout:
    """Buffers of one rollout [T, E, ...]; what the learner needs is on its device. With a ``frame_shape`` frames are kept too."""

    def __init__(
        self,
        settings: PpoSettings,
        device: torch.device,
        space: Actions,
        frame_shape: tuple[int, ...] | None = None,
    ) -> None:
        self.num_steps = settings.num_steps
        self._shape = (settings.num_steps, settings.num_envs)
        self._device = device
        self.encoded: list[Tensor] = []
        self.samples = space.empty(self._shape, device)
        self._space = space
        self.log_probs = torch.zeros(self._shape, device=device)
        self.values = torch.zeros(self._shape, device=device)
        self.cut_values = torch.zeros(self._shape, device=device)
        self.rewards = np.zeros(self._shape, np.float32)
        self.ends = np.zeros(self._shape, np.bool_)
        self.frames: NDArray[np.uint8] | None = None
        if frame_shape is not None:
            self.frames = np.zeros((settings.num_steps + 1, settings.num_envs, *frame_shape), np.uint8)

    def keep_answer(self, step: int, columns: slice, answer: Answer, frames: NDArray[np.uint8]) -> None:
        """Keep what was seen and done in some environments."""
        if not self.encoded:
            self.encoded = [
                torch.zeros((*self._shape, *part.shape[1:]), dtype=part.dtype, device=self._device)
                for part in answer.encoded
            ]
        for kept, part in zip(self.encoded, answer.encoded, strict=True):
            kept[step, columns] = part
        self.samples[step, columns] = answer.samples
        self.log_probs[step, columns] = answer.log_probs
        self.values[step, columns] = answer.values
        self.keep_frames(step, columns, frames)

    def keep_frames(self, step: int, columns: slice, frames: NDArray[np.uint8]) -> None:
        """Keep frames, if they are to be kept."""
        if self.frames is not None:
            self.frames[step, columns] = frames

    def keep_outcome(self, step: int, columns: slice, result: StepResult, cut_values: Tensor | None) -> None:
        """Keep what came of the actions; ``cut_values``: those of the last observations of the episodes that were cut."""
        self.rewards[step, columns], self.ends[step, columns] = result.rewards, result.terminated | result.truncated
        self.cut_values[step, columns] = 0
        if cut_values is not None:
            places = np.flatnonzero(result.truncated) + columns.start
            self.cut_values[step, torch.from_numpy(places).to(self._device)] = cut_values

    def experience(self) -> Experience:
        """What was seen and done, for who listens."""
        assert self.frames is not None, "no frames were kept"
        return Experience(self.frames, self._space.taken(self.samples).cpu().numpy(), self.ends)
