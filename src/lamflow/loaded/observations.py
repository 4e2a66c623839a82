"""Observations as Gymnasium gives them, one or a batch, as agents take them.

Shapes: B batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamflow.envs.gymnasium_parts import read_parts
from lamflow.envs.interface import Observation
from lamflow.envs.spec import EnvironmentSpec
from lamflow.spaces import Categories, Part, Pixels, Vector

COLOURS = (1, 3, 4)
"""The last axis of a picture; one with alpha is refused as such, and is no batch of grey pictures that are four pixels wide."""


def read_observation(spec: EnvironmentSpec, given: Any) -> tuple[Observation, bool]:
    """``given``, an array or a dict of them, as a batch, and whether it was one: else it is a single observation, and the batch has a row.

    Pictures are resized and given three channels as the environment's are. ValueError where a part is missing, of another shape, or out of
    its bounds.
    """
    named = _named(spec, given)
    if missing := [name for name in spec.observation if name not in named]:
        raise ValueError(
            f"found an observation with the parts {', '.join(named) or 'none'}, expected {', '.join(spec.observation)} (no {missing[0]!r})"
        )
    batched = is_batch(spec.main_part, np.asarray(named[spec.main]))
    if not batched:
        parts = read_parts(spec.observation, named).items()
        return Observation({name: np.require(part[None], requirements="W") for name, part in parts}), False
    return Observation({name: _batch(name, part, named[name]) for name, part in spec.observation.items()}), True


def _named(spec: EnvironmentSpec, given: Any) -> Mapping[str, Any]:
    """Its parts by name; lamflow's own face for Gymnasium calls its picture ``frame``."""
    if not isinstance(given, Mapping):
        if len(spec.observation) > 1:
            raise ValueError(
                f"found one array as the observation, expected a dict with the parts {', '.join(spec.observation)}"
            )
        return {spec.main: given}
    if spec.main not in given and "frame" in given:
        return {**given, spec.main: given["frame"]}
    return given


def is_batch(part: Part, values: NDArray[Any]) -> bool:
    """Whether values of a part are several, [B, ...], and not one: they have an axis more. A picture may come without its channels."""
    if isinstance(part, Pixels):
        return values.ndim == 4 or (values.ndim == 3 and values.shape[2] not in COLOURS)
    return values.ndim > len(part.shape) or (values.ndim == 1 and values.size != prod(part.shape))


def _batch(name: str, part: Part, given: Any) -> NDArray[Any]:
    values = np.asarray(given)
    if values.shape[1:] == part.shape and values.dtype == part.dtype and _sound(part, values):
        return np.require(values, requirements="W")
    return np.stack([_row(name, part, row, number) for number, row in enumerate(values)])


def _sound(part: Part, values: NDArray[Any]) -> bool:
    if isinstance(part, Vector):
        return bool(np.isfinite(values).all())
    return isinstance(part, Pixels) or (isinstance(part, Categories) and bool((values < np.array(part.sizes)).all()))


def _row(name: str, part: Part, value: Any, number: int) -> NDArray[Any]:
    try:
        return read_parts({name: part}, {name: value})[name]
    except ValueError as error:
        raise ValueError(f"observation {number} of the batch: {error}") from None
