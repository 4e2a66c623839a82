"""Gymnasium's spaces as parts of observations, and observations as arrays of these parts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lamflow.envs.spec import FRAMES
from lamflow.spaces import MOST_CATEGORIES, ActionSpace, Box, Categories, Discrete, Part, Pixels, Vector

STATE = "state"
"""The part that an observation is which has no parts and is neither a picture nor a grid."""
_PART_NAME = r"[A-Za-z0-9][A-Za-z0-9_-]*"


def parts_of(space: gymnasium.Space[Any], resize: int | None) -> dict[str, Part]:
    """The parts of observations of ``space``; ValueError names the part that nothing here can take."""
    if isinstance(space, gymnasium.spaces.Dict):
        if not space.spaces:
            raise ValueError("observation space: found a Dict without parts, expected at least one")
        for name in space.spaces:
            if not re.fullmatch(_PART_NAME, str(name)):
                raise ValueError(
                    f"observation space: found a part named {name!r}, expected letters, digits, '-' and '_': rename it in a wrapper"
                )
        return {name: _part_of(part, f"part {name!r}", resize) for name, part in space.spaces.items()}
    part = _part_of(space, "it", resize)
    return {FRAMES if len(part.shape) == 3 else STATE: part}


def _part_of(space: gymnasium.Space[Any], what: str, resize: int | None) -> Part:
    if isinstance(space, gymnasium.spaces.Box):
        if space.dtype == np.uint8 and _is_picture(space.shape):
            height, width = (resize, resize) if resize else space.shape[:2]
            return Pixels((height, width, 3))
        if len(space.shape) <= 1:
            return Vector(space.shape or (1,))
    elif isinstance(space, gymnasium.spaces.Discrete) and space.start == 0 and space.n <= MOST_CATEGORIES:
        return Categories((1,), (int(space.n),))
    elif isinstance(space, gymnasium.spaces.MultiBinary) and len(space.shape) == 1:
        return Categories(space.shape, (2,) * space.shape[0])
    elif isinstance(space, gymnasium.spaces.MultiDiscrete) and np.all(space.start == 0):
        sizes = space.nvec.reshape(-1, space.shape[-1])
        if space.nvec.max() <= MOST_CATEGORIES and (sizes == sizes[0]).all() and len(space.shape) in (1, 3):
            return Categories(space.shape, tuple(map(int, sizes[0])))
    raise ValueError(
        f"observation space: {what} is {space}, expected a picture (Box uint8 [height, width], with 1, 3 or no channels), a vector (Box of "
        f"rank 1), or categories of at most {MOST_CATEGORIES} values from 0 (Discrete, MultiBinary, MultiDiscrete of rank 1, or of "
        "a grid [height, width, channels]): leave it out, or change it, in a wrapper"
    )


def _is_picture(shape: tuple[int, ...]) -> bool:
    return (len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))) and min(shape[:2]) >= 4


def action_of(space: gymnasium.Space[Any]) -> ActionSpace:
    """The actions of ``space``; ValueError for a kind that there is not."""
    if isinstance(space, gymnasium.spaces.Discrete) and space.start == 0:
        return Discrete(int(space.n))
    if isinstance(space, gymnasium.spaces.Box) and len(space.shape) == 1 and space.is_bounded():
        return Box(tuple(map(float, space.low)), tuple(map(float, space.high)))
    raise ValueError(
        f"action space: found {space}, expected Discrete from 0, or Box of rank 1 with bounds: change it in a wrapper"
    )


def read_parts(parts: Mapping[str, Part], observation: Any) -> dict[str, NDArray[Any]]:
    """An observation of Gymnasium as arrays of ``parts``; ValueError for one that is not in its space, or holds NaN."""
    if isinstance(observation, Mapping):
        if missing := [name for name in parts if name not in observation]:
            raise ValueError(f"found an observation without the part {missing[0]!r}")
        return {name: _read(part, observation[name], name) for name, part in parts.items()}
    ((name, part),) = parts.items()
    return {name: _read(part, observation, name)}


def _read(part: Part, value: Any, name: str) -> NDArray[Any]:
    values = np.asarray(value)
    if isinstance(part, Pixels):
        return _picture(values, part, name)
    values = values.reshape(part.shape) if values.size == np.prod(part.shape) else values
    if values.shape != part.shape:
        raise ValueError(f"part {name!r} of an observation has shape {list(values.shape)}, expected {list(part.shape)}")
    if isinstance(part, Vector):
        if not np.isfinite(values).all():
            raise ValueError(f"part {name!r} of an observation holds NaN or infinity, expected finite numbers")
    elif (values < 0).any() or (values >= np.array(part.sizes)).any():
        raise ValueError(
            f"part {name!r} of an observation is {values.tolist()}, expected categories below {list(part.sizes)}"
        )
    return values.astype(part.dtype)


def _picture(values: NDArray[Any], part: Pixels, name: str) -> NDArray[Any]:
    if values.dtype != np.uint8 or values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] not in (1, 3)):
        found = f"{values.dtype} {list(values.shape)}"
        raise ValueError(f"part {name!r} of an observation is {found}, expected a picture uint8 {list(part.shape)}")
    if values.ndim == 2:
        values = values[..., None]
    if values.shape[2] == 1:
        values = np.repeat(values, 3, axis=2)
    height, width, _ = part.shape
    if values.shape[:2] != (height, width):
        values = np.asarray(Image.fromarray(values).resize((width, height), Image.Resampling.BOX))
    return values


# And back ------------------------------------------------------------------------------------------------------------


def shown_space(space: gymnasium.Space[Any], resize: int | None) -> gymnasium.Space[Any]:
    """The space of what ``shown`` answers: ``space``, with pictures of the side ``resize``."""
    if isinstance(space, gymnasium.spaces.Dict):
        return gymnasium.spaces.Dict({name: shown_space(part, resize) for name, part in space.spaces.items()})
    if resize and isinstance(space, gymnasium.spaces.Box) and space.dtype == np.uint8 and _is_picture(space.shape):
        return gymnasium.spaces.Box(0, 255, (resize, resize, *space.shape[2:]), np.uint8)
    return space


def shown(space: gymnasium.Space[Any], parts: Mapping[str, NDArray[Any]]) -> Any:
    """What ``read_parts`` read, each part [B, ...], as a batch of observations of ``space``, the answer of ``shown_space``: an array, or a
    dict of them. Numbers of more than single precision are rounded."""
    if isinstance(space, gymnasium.spaces.Dict):
        return {name: _shown(part, parts[name]) for name, part in space.spaces.items()}
    (values,) = parts.values()
    return _shown(space, values)


def _shown(space: gymnasium.Space[Any], values: NDArray[Any]) -> NDArray[Any]:
    assert space.shape is not None
    if values.ndim == 4 and values.shape[1:] != space.shape:  # a picture without three channels of its own
        values = values[..., :1]
    return values.reshape(len(values), *space.shape).astype(space.dtype)
