"""The spaces of Gymnasium that facts of observations and actions describe."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from lamflow.spaces import ActionSpace, Box, Categories, Discrete, Part, Pixels, Unknown


def space_of(part: Part | ActionSpace) -> gymnasium.Space[Any]:
    """``Box`` for pictures, vectors and continuous actions, ``MultiDiscrete`` for categories, ``Discrete`` for discrete actions; ValueError
    where nobody recorded any."""
    if isinstance(part, Discrete):
        return gymnasium.spaces.Discrete(part.count)
    if isinstance(part, Box):
        return gymnasium.spaces.Box(np.array(part.low, np.float32), np.array(part.high, np.float32))
    if isinstance(part, Categories):
        return gymnasium.spaces.MultiDiscrete(np.broadcast_to(np.array(part.sizes), part.shape), dtype=np.uint8)
    if isinstance(part, Pixels):
        return gymnasium.spaces.Box(0, 255, part.shape, np.uint8)
    if isinstance(part, Unknown):
        raise ValueError(
            "actions that nobody recorded are of no space of Gymnasium: nobody can play such an environment"
        )
    return gymnasium.spaces.Box(-np.inf, np.inf, part.shape, np.float32)
