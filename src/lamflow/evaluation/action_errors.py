"""How wrong actions are that were answered for recorded ones, episode by episode.

The score of any rows is 1 - error / scale, the sums being over their episodes: the accuracy of discrete actions, whose errors are counted,
and, of continuous ones, the coefficient of determination R² of each entry, whose errors are squared. Several entries: the mean over those
that vary.

Shapes: M members, N rows, U episodes, A entries of an action (one where it is discrete).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lamflow.spaces import ActionSpace, Box

MEASURES = {"discrete": "accuracy", "box": "r2"}
"""What is measured of actions of a kind of space."""


@dataclass(frozen=True)
class ActionErrors:
    """Sums over the rows of each episode, of which ``episodes`` int64 [U] are the numbers and ``rows`` int64 [U] how many rows count.

    ``errors`` float64 [M, U, A] of the members' answers; ``constant`` [U, A] of the answer that is always the same; ``scales`` [U, A]: what
    the errors are compared with, the number of rows, or the squared distances to the mean.
    """

    episodes: Tensor
    rows: Tensor
    errors: Tensor
    constant: Tensor
    scales: Tensor

    @staticmethod
    def joined(parts: Sequence[ActionErrors]) -> ActionErrors:
        """Of different episodes, one after the other."""
        return ActionErrors(
            torch.cat([part.episodes for part in parts]),
            torch.cat([part.rows for part in parts]),
            torch.cat([part.errors for part in parts], dim=1),
            torch.cat([part.constant for part in parts]),
            torch.cat([part.scales for part in parts]),
        )


def best_constant(space: ActionSpace, true_N: Tensor) -> Tensor:
    """The best answer to the actions [N, ...] that is always the same: the most frequent one, int64 [], or the mean, float64 [A]."""
    return true_N.double().mean(0) if isinstance(space, Box) else true_N.bincount().argmax()


def action_errors(
    space: ActionSpace, answered_MN: Tensor, true_N: Tensor, episode_N: Tensor, constant: Tensor
) -> ActionErrors:
    """Of answers [M, N, ...] to the true actions [N, ...], of which ``episode_N`` int64 [N] says the episodes. ``constant``: the best
    constant answer, over all episodes that are scored together."""
    episodes, place, rows = episode_N.unique(return_inverse=True, return_counts=True)

    def by_episode(values: Tensor) -> Tensor:
        sums = values.new_zeros(*values.shape[:-2], len(episodes), values.shape[-1])
        return sums.index_add_(-2, place, values)

    if isinstance(space, Box):
        true = true_N.double()
        wrong, same = (answered_MN.double() - true).square(), (true - constant).square()
        scales = same
    else:
        wrong, same = ((answers != true_N)[..., None].double() for answers in (answered_MN, constant))
        scales = torch.ones_like(same)
    return ActionErrors(episodes, rows, by_episode(wrong), by_episode(same), by_episode(scales))
