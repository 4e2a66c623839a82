"""The spaces of a Minari data set as parts of observations and as actions."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from lamflow.episodes.array_parts import (
    FRAMES,
    STATE,
    RecordedCategories,
    RecordedPart,
    RecordedPicture,
    RecordedVector,
    is_picture,
    picture_of,
)
from lamflow.episodes.seen_actions import Bounds, as_actions
from lamflow.spaces import MOST_CATEGORIES

Path = tuple[str, ...]
"""The keys that lead to a part of a Dict in Dicts."""


@dataclass(frozen=True)
class MinariPart:
    """A part of an observation: where it lies, what it is, and whether Minari stores it as JPEG, where it compresses pictures."""

    path: Path
    recorded: RecordedPart
    compressible: bool

    def of(self, observations: Any) -> NDArray[Any]:
        """Its rows in an episode's observations, [n, ...]."""
        for key in self.path:
            observations = observations[key]
        return np.asarray(observations)


def parts_of(space: gymnasium.Space[Any], chosen: Collection[str] | None) -> tuple[dict[str, MinariPart], list[str]]:
    """The parts of observations by name, those ``chosen`` or all, and the names of those that were left out. The parts of a Dict in a Dict
    are named ``outer-inner``. ValueError names the part that cannot be taken."""
    if not isinstance(space, spaces.Dict):
        part = MinariPart((), _recorded(space, "it"), _is_jpeg(space))
        return {FRAMES if isinstance(part.recorded, RecordedPicture) else STATE: part}, []
    named: dict[str, tuple[Path, gymnasium.Space[Any]]] = {}
    for path, inner in _leaves(space):
        name = re.sub(r"[^A-Za-z0-9_-]", "_", "-".join(path))
        if name in named:
            raise ValueError(f"observation space: found two parts that are named {name}: {named[name][0]} and {path}")
        named[name] = (path, inner)
    if unknown := [name for name in chosen or () if name not in named]:
        raise ValueError(f"parts: found {unknown[0]!r}, expected some of {', '.join(named)}")
    text = [name for name, (_, inner) in named.items() if isinstance(inner, spaces.Text)]
    taken = [name for name in named if (name in chosen if chosen is not None else name not in text)]
    parts = {}
    for name in taken:
        path, inner = named[name]
        parts[name] = MinariPart(path, _recorded(inner, f"part {name!r}"), _is_jpeg(inner))
    if not parts:
        raise ValueError(f"observation space: found no part that can be taken in {space}, expected pictures or vectors")
    return parts, [name for name in named if name not in parts]


def main_of(parts: dict[str, MinariPart], main: str | None) -> str:
    """The part that latent action models see: ``main``, or the first picture, or the only part."""
    if main is not None:
        if main not in parts:
            raise ValueError(f"main: found {main!r}, expected one of the parts {', '.join(parts)}")
        return main
    pictures = [name for name, part in parts.items() if isinstance(part.recorded, RecordedPicture)]
    if not pictures and len(parts) > 1:
        raise ValueError(f"main: say which of the parts {', '.join(parts)} latent action models see")
    return (pictures or list(parts))[0]


@dataclass(frozen=True)
class MinariActions:
    """How actions are read. ``starts`` and ``sizes``: of integers, one per entry; those of several entries become one number, the last
    entry changing fastest. None: floats, with ``bounds`` where their space has some."""

    sizes: tuple[int, ...] | None = None
    starts: tuple[int, ...] = ()
    bounds: Bounds | None = None

    @property
    def count(self) -> int | None:
        """Of discrete actions."""
        return None if self.sizes is None else prod(self.sizes)

    @property
    def names(self) -> tuple[str, ...]:
        """Of actions that are several numbers in the data: these numbers."""
        if self.sizes is None or len(self.sizes) == 1:
            return ()
        values = np.stack(np.unravel_index(np.arange(prod(self.sizes)), self.sizes), axis=1) + np.array(self.starts)
        return tuple(" ".join(map(str, row)) for row in values.tolist())

    @property
    def notes(self) -> tuple[str, ...]:
        """How they differ from those in the data."""
        if self.sizes is not None and len(self.sizes) > 1:
            return (
                f"actions of {len(self.sizes)} integers become one of {self.count} numbers, the last entry changing fastest",
            )
        return (f"actions begin at {self.starts[0]} in the data, and at 0 here",) if any(self.starts) else ()

    def read(self, values: NDArray[Any], what: str, first_row: int) -> NDArray[Any]:
        """int64 [n] from 0, or float32 [n, A]. ValueError names ``what`` and the row that holds no action of the space."""
        if self.sizes is None:
            return as_actions(np.asarray(values, np.float32).reshape(len(values), -1), what, first_row)
        entries = np.asarray(values).astype(np.int64).reshape(len(values), len(self.sizes)) - np.array(self.starts)
        outside = ((entries < 0) | (entries >= np.array(self.sizes))).any(1)
        if outside.any():
            row = int(np.flatnonzero(outside)[0])
            raise ValueError(
                f"{what}: row {first_row + row}: found action {np.asarray(values)[row].tolist()}, expected {list(self.sizes)} values from "
                f"{list(self.starts)} on, as the action space says"
            )
        return np.asarray(np.ravel_multi_index(tuple(entries.T), self.sizes)).astype(np.int64)


def actions_of(space: gymnasium.Space[Any]) -> MinariActions:
    """The actions of ``space``; ValueError for a kind that there is not."""
    if isinstance(space, spaces.Discrete):
        return MinariActions((int(space.n),), (int(space.start),))
    if isinstance(space, spaces.MultiBinary):
        space = spaces.MultiDiscrete(np.full(space.shape, 2))
    if isinstance(space, spaces.MultiDiscrete) and prod(space.nvec.reshape(-1).tolist()) <= MOST_CATEGORIES:
        return MinariActions(
            tuple(map(int, space.nvec.reshape(-1))), tuple(map(int, np.asarray(space.start).reshape(-1)))
        )
    if isinstance(space, spaces.Box) and len(space.shape) <= 1 and space.dtype is not None and space.dtype.kind == "f":
        low, high = (np.asarray(bound, np.float32).reshape(-1).tolist() for bound in (space.low, space.high))
        return MinariActions(bounds=(low, high) if np.isfinite([*low, *high]).all() else None)
    raise ValueError(
        f"action space: found {space}, expected Discrete, MultiDiscrete of at most {MOST_CATEGORIES} combinations, or Box of floats of "
        "rank 1: write the data set with such actions"
    )


def _leaves(space: spaces.Dict, path: Path = ()) -> Iterator[tuple[Path, gymnasium.Space[Any]]]:
    for key, inner in space.spaces.items():
        if isinstance(inner, spaces.Dict):
            yield from _leaves(inner, (*path, key))
        else:
            yield (*path, key), inner


def _recorded(space: gymnasium.Space[Any], what: str) -> RecordedPart:
    if isinstance(space, spaces.Box):
        if space.dtype == np.uint8 and is_picture(space.shape):
            return picture_of(space.shape)
        if len(space.shape) <= 1:
            return RecordedVector(prod(space.shape))
    elif isinstance(space, spaces.Discrete) and space.n <= MOST_CATEGORIES:
        return RecordedCategories((1,), (int(space.n),), (int(space.start),))
    elif isinstance(space, spaces.MultiBinary) and len(space.shape) == 1:
        return RecordedCategories(space.shape, (2,) * space.shape[0], (0,) * space.shape[0])
    elif isinstance(space, spaces.MultiDiscrete) and len(space.shape) in (1, 3) and space.nvec.max() <= MOST_CATEGORIES:
        sizes, starts = (np.asarray(of).reshape(-1, space.shape[-1]) for of in (space.nvec, space.start))
        if (sizes == sizes[0]).all() and (starts == starts[0]).all():
            return RecordedCategories(space.shape, tuple(map(int, sizes[0])), tuple(map(int, starts[0])))
    raise ValueError(
        f"observation space: {what} is {_short(space)}, expected a picture (Box uint8 [height, width], with 1, 3 or no channels, last or "
        f"first), a vector (Box of rank 1), or categories of at most {MOST_CATEGORIES} values (Discrete, MultiBinary, MultiDiscrete): name "
        "the parts that are to be read in `parts`, or write the data set with other observations"
    )


def _short(space: gymnasium.Space[Any]) -> str:
    """A space without the bounds of each pixel."""
    return f"Box {space.dtype} {list(space.shape)}" if isinstance(space, spaces.Box) else str(space)[:200]


def _is_jpeg(space: gymnasium.Space[Any]) -> bool:
    """Whether Minari takes it for a picture, and stores it as JPEG unless it is told not to."""
    from minari.dataset.minari_storage import is_image_space

    return bool(is_image_space(space))
