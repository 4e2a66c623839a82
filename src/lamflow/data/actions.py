"""Which actions a store may hold: those of its environment's space, and what stands in the place of one that nobody knows.

Shapes: N rows, A entries of an action.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from lamflow.envs.spec import EnvironmentSpec
from lamflow.spaces import ActionSpace, Box, Discrete, Unknown

NO_ACTION: Final = -1
"""The discrete action on a row whose action nobody knows, as on that of a final observation; there the entries of others are 0."""
Recorded = Literal["all", "some", "none"]
"""Of how many rows with an action it is known."""


def recorded_in(attributes: Mapping[str, Any]) -> Recorded:
    """Of how many rows of the store with these attributes the action is known; ValueError for what is none of the words for it."""
    found = attributes.get("actions", "all")
    if found not in get_args(Recorded):
        raise ValueError(f"found actions {found!r}, expected one of {', '.join(get_args(Recorded))}")
    return cast("Recorded", found)


def no_action(space: ActionSpace) -> int:
    """What stands in the place of an action that nobody knows."""
    return 0 if isinstance(space, Box) else NO_ACTION


def is_no_action(space: ActionSpace, actions: NDArray[Any]) -> NDArray[np.bool_]:
    """Of actions [N, ...] whether it stands there, bool [N]."""
    found: NDArray[np.bool_] = (actions == no_action(space)).reshape(len(actions), -1).all(axis=1)
    return found


def outside_bounds(space: ActionSpace, actions: NDArray[Any]) -> NDArray[np.bool_]:
    """Which entries of actions [N, ...] are outside of their bounds, bool [N, ...]; NaN is, and any action where there are none."""
    if isinstance(space, Discrete):
        return (actions < 0) | (actions >= space.count)
    if isinstance(space, Unknown):
        return np.ones(actions.shape, np.bool_)
    return ~((actions >= np.array(space.low, np.float32)) & (actions <= np.array(space.high, np.float32)))


def action_problem(spec: EnvironmentSpec, actions: NDArray[Any]) -> str:
    """What is wrong with actions [N, ...] that were taken in an environment, empty where nothing is."""
    space = spec.action
    outside = outside_bounds(space, actions)
    if not outside.any():
        return ""
    if isinstance(space, Unknown):
        return f"found actions, expected none, as {spec.name} has no action space: leave them out"
    if isinstance(space, Discrete):
        return f"found actions from {actions.min()} to {actions.max()}, expected {said_bounds(space)}"
    row, entry = np.argwhere(outside)[0]
    bounds = f"{space.low[entry]:g} to {space.high[entry]:g}"
    return f"action {row}: found {actions[row, entry]:g} in entry {entry}, expected {bounds}"


def said_bounds(space: ActionSpace) -> str:
    """The lowest and the highest action, in words."""
    if isinstance(space, Unknown):
        return "no action"
    return f"0 to {space.count - 1}" if isinstance(space, Discrete) else f"{list(space.low)} to {list(space.high)}"
