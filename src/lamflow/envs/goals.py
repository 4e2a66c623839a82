"""What an XLand goal asks for, in words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lamflow.envs.rulesets import AGENT_HOLD, AGENT_NEAR, AGENT_ON_TILE, TILE_NEAR

TILE_NAMES = (
    "nothing", "floor", "wall", "ball", "square", "pyramid", "goal", "key", "locked door", "closed door", "open door", "hex", "star",
)  # fmt: skip
"""By tile id."""
COLOR_NAMES = (
    "", "red", "green", "blue", "purple", "yellow", "grey", "black", "orange", "white", "brown", "pink",
)  # fmt: skip
"""By colour id."""


def describe_goal(task: NDArray[np.uint8]) -> str:
    """A task vector uint8 [5] in a few words; '' for goals that the rulesets here do not have."""
    first, second = (f"{COLOR_NAMES[color]} {TILE_NAMES[tile]}" for tile, color in (task[1:3], task[3:5]))
    texts = {
        AGENT_HOLD: f"hold the {first}",
        AGENT_ON_TILE: f"step on the {first}",
        AGENT_NEAR: f"stand beside the {first}",
        TILE_NEAR: f"{first} beside {second}",
    }
    return texts.get(int(task[0]), "")
