"""Which transitions get their action labels: one random draw for all methods, so that their budgets are equal."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from lamflow.data.store import EpisodeArrays
from lamflow.data.windows import transition_rows


def draw_labels(
    arrays: EpisodeArrays, *, count: int, unit: Literal["transitions", "trajectories"], draw: int, seed: int
) -> Tensor:
    """int64 rows of the labelled transitions: ``count`` of them, or all those of ``count`` episodes.

    Drawn without replacement from the rows with an action and a next frame. Of the same ``seed`` and ``draw`` a smaller
    count is the beginning of a larger one. ValueError when the data holds fewer than ``count``.
    """
    held = arrays.num_transitions if unit == "transitions" else arrays.num_episodes
    if not 0 < count <= held:
        raise ValueError(
            f"label count {count} {unit}: the episodes hold {held} {unit}, expected 1 to {held}: lower the count under "
            "`labels`, or raise `collection.train_episodes`"
        )
    order = np.random.default_rng((seed, draw, unit == "trajectories")).permutation(held)[:count]
    if unit == "transitions":
        return transition_rows(arrays)[torch.from_numpy(order)]
    stops = np.append(arrays.episode_starts[1:], arrays.num_rows) - 1
    return torch.from_numpy(np.concatenate([np.arange(arrays.episode_starts[e], stops[e]) for e in order]))
