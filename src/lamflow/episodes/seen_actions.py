"""What recorded actions are: their space, found by a pass over them in chunks.

Shapes: n rows, A entries of an action.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamflow.episodes.array_parts import finite_rows
from lamflow.settings import WIDEST
from lamflow.spaces import ActionSpace, Box, Discrete

Bounds = tuple[Sequence[float], Sequence[float]] | tuple[float, float]
"""The lowest and the highest value of each entry, or of all."""


def as_actions(values: NDArray[Any], what: str, first_row: int) -> NDArray[Any]:
    """Recorded actions as int64 [n], or float32 [n, A]. ValueError names ``what``, and the row where a number is not finite."""
    values = np.asarray(values)
    if values.dtype.kind not in "iubf" or values.ndim not in (1, 2):
        raise ValueError(
            f"{what}: found {values.dtype} {list(values.shape)}, expected integers [rows], or floats [rows, entries]"
        )
    if values.dtype.kind == "f":
        return finite_rows(values, what, first_row).reshape(len(values), -1)
    if values.ndim == 2 and values.shape[1] != 1:
        raise ValueError(
            f"{what}: found integers with {values.shape[1]} entries per row, expected one integer per row, or floats: write them as one "
            "number, or as floats"
        )
    return values.reshape(-1).astype(np.int64)


class SeenActions:
    """Actions that were seen, as ``as_actions`` gives them.

    ``bounds``: declared ones of continuous actions, None: those of the data; ``count``: a declared number of discrete actions.
    """

    def __init__(self, *, bounds: Bounds | None = None, count: int | None = None) -> None:
        self._bounds, self._count = bounds, count
        self._low: NDArray[Any] | None = None
        self._high: NDArray[Any] | None = None
        self._discrete = False
        self._rows = 0

    def add(self, actions: NDArray[Any], what: str, first_row: int) -> None:
        """Look at rows, the first of which is row ``first_row`` of ``what``; ValueError names both where an action is not as the others, or
        as declared."""
        if not len(actions):
            return
        discrete = actions.dtype.kind == "i"
        entries = actions.reshape(len(actions), -1)
        low, high = entries.min(0), entries.max(0)
        if self._low is None or self._high is None:
            self._low, self._high, self._discrete = low, high, discrete
        elif discrete != self._discrete or entries.shape[1] != len(self._low):
            raise ValueError(
                f"{what}: found {_form(discrete, entries.shape[1])}, expected {_form(self._discrete, len(self._low))} as before it"
            )
        self._check(entries, what, first_row)
        self._low, self._high = np.minimum(self._low, low), np.maximum(self._high, high)
        self._rows += len(actions)

    def space(self) -> ActionSpace | None:
        """The space of the actions; None where none was seen."""
        if self._low is None or self._high is None:
            return None
        if self._discrete:
            return Discrete(self._count or int(self._high[0]) + 1)
        low, high = (self._low, self._high) if self._bounds is None else self._declared()
        return Box(tuple(map(float, low)), tuple(map(float, high)))

    def notes(self) -> tuple[str, ...]:
        """What never changes: such actions may be placeholders."""
        if self._low is None or self._high is None or self._rows < 2:
            return ()
        still = np.flatnonzero(self._low == self._high).tolist()
        if len(still) == len(self._low):
            shown = self._low.tolist()
            value = shown[0] if len(shown) == 1 else shown
            return (f"the action never changes: it is {value} in all {self._rows} rows; it may be a placeholder",)
        if still:
            return (
                f"{len(still)} of the action's {len(self._low)} entries never change: entry {', '.join(map(str, still))}",
            )
        return ()

    def _declared(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        assert self._bounds is not None and self._low is not None
        low, high = (np.broadcast_to(np.asarray(bound, np.float32), self._low.shape) for bound in self._bounds)
        return low, high

    def _check(self, entries: NDArray[Any], what: str, first_row: int) -> None:
        if self._discrete:
            low, high = np.array([0]), np.array([(self._count or WIDEST) - 1])
        elif self._bounds is not None:
            low, high = self._declared()
        else:
            return
        outside = (entries < low) | (entries > high)
        if outside.any():
            row, entry = (int(place) for place in np.argwhere(outside)[0])
            wanted = f"from {low[entry]:g} to {high[entry]:g}"
            where = "" if self._discrete else f" in entry {entry}"
            cure = "" if self._discrete else "; `action_bounds: data` takes the bounds of the data"
            raise ValueError(
                f"{what}: row {first_row + row}: found action {entries[row, entry]:g}{where}, expected {wanted}{cure}"
            )


def _form(discrete: bool, entries: int) -> str:
    return "integers" if discrete else f"floats with {entries} entries per row"
