"""Recorded arrays as parts of observations: what a part is, and how its rows are checked and brought to its form.

Shapes: n rows, H height, W width.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lamflow.episodes.fit import FrameFit
from lamflow.spaces import Categories, Part, Pixels, Vector

FRAMES = "frames"
"""The part that is the one picture of an observation."""
STATE = "state"
"""The part that an observation is which has no parts and is no picture."""
_SMALLEST_PICTURE = 4
"""Pixels of a side; what is smaller is no picture."""


class RecordedPart(Protocol):
    """A part of an observation as it was recorded."""

    def part(self, fit: FrameFit) -> Part:
        """What it becomes. ValueError where a picture is too small or too large."""
        ...

    def read(self, values: NDArray[Any], fit: FrameFit, what: str, first_row: int) -> NDArray[Any]:
        """Recorded rows ``values`` [n, ...], of which the first is row ``first_row`` of ``what``, as rows of ``part``. ValueError names
        ``what`` and the row that cannot be used."""
        ...


@dataclass(frozen=True)
class RecordedPicture:
    """uint8 [n, H, W, 3], or with one or no channel, which becomes three; ``channels_first``: [n, 3, H, W]."""

    height: int
    width: int
    channels_first: bool = False

    def part(self, fit: FrameFit) -> Pixels:
        """[height, width, 3], as ``fit`` makes them."""
        return Pixels((*fit.shape_of(self.height, self.width), 3))

    def read(self, values: NDArray[Any], fit: FrameFit, what: str, first_row: int) -> NDArray[np.uint8]:
        """uint8 [n, height, width, 3], RGB."""
        pictures = values[..., None] if values.ndim == 3 else values
        if self.channels_first:
            pictures = pictures.transpose(0, 2, 3, 1)
        if pictures.shape[3] == 1:
            pictures = np.repeat(pictures, 3, axis=3)
        return fit.frames(np.ascontiguousarray(pictures, np.uint8))


@dataclass(frozen=True)
class RecordedVector:
    """Numbers [n, entries], or [n]."""

    entries: int

    def part(self, fit: FrameFit) -> Vector:
        """[entries]."""
        return Vector((self.entries,))

    def read(self, values: NDArray[Any], fit: FrameFit, what: str, first_row: int) -> NDArray[np.float32]:
        """float32 [n, entries]; ValueError where one is NaN or infinite."""
        vectors = finite_rows(values, what, first_row)
        return vectors.reshape(len(vectors), self.entries)


@dataclass(frozen=True)
class RecordedCategories:
    """Integers [n, *shape], or [n]; entry i of the last axis has one of ``sizes[i]`` values from ``starts[i]`` on."""

    shape: tuple[int, ...]
    sizes: tuple[int, ...]
    starts: tuple[int, ...]

    def part(self, fit: FrameFit) -> Categories:
        """[..., entries]."""
        return Categories(self.shape, self.sizes)

    def read(self, values: NDArray[Any], fit: FrameFit, what: str, first_row: int) -> NDArray[np.uint8]:
        """uint8 [n, *shape], from 0; ValueError where a category is none of its space's."""
        categories = np.asarray(values).astype(np.int64).reshape(len(values), *self.shape) - np.array(self.starts)
        outside = (categories < 0) | (categories >= np.array(self.sizes))
        if outside.any():
            row = int(np.argwhere(outside)[0, 0])
            raise ValueError(
                f"{what}: row {first_row + row}: found the categories {np.asarray(values)[row].tolist()}, expected {list(self.sizes)} "
                f"values from {list(self.starts)} on, as its space says"
            )
        return categories.astype(np.uint8)


def is_picture(row_shape: tuple[int, ...]) -> bool:
    """Whether rows of this shape have the form of a picture: [H, W] with three, one or no channel, last or first."""
    sides = _sides(row_shape)
    return sides is not None and min(sides) >= _SMALLEST_PICTURE


def picture_of(row_shape: tuple[int, ...]) -> RecordedPicture:
    """The picture that rows of this shape are, which ``is_picture``."""
    sides = _sides(row_shape)
    assert sides is not None
    return RecordedPicture(*sides, channels_first=_has_channels_first(row_shape))


def part_of_array(dtype: np.dtype[Any], row_shape: tuple[int, ...], what: str) -> RecordedPart:
    """What rows of this dtype and shape are: a picture where they are bytes of such a form, else a vector. ValueError names ``what``."""
    found = f"{what} is {dtype} with rows of shape {list(row_shape)}"
    if dtype == np.uint8 and is_picture(row_shape):
        return picture_of(row_shape)
    if dtype.kind == "f" and is_picture(row_shape) and len(row_shape) == 3:
        raise ValueError(
            f"{found}, expected pictures of bytes, uint8 from 0 to 255: whether these go from 0 to 1 or from -1 to 1 is not guessed; write "
            "them as uint8"
        )
    if dtype.kind in "fiub" and len(row_shape) <= 1:
        return RecordedVector(prod(row_shape))
    raise ValueError(
        f"{found}, expected pictures uint8 [H, W, 3], [3, H, W] or [H, W], or vectors of numbers: name another key"
    )


def finite_rows(values: NDArray[Any], what: str, first_row: int) -> NDArray[np.float32]:
    """Numbers [n, ...] in single precision; ValueError names ``what`` and the row in which one is NaN or infinite."""
    numbers = np.asarray(values).astype(np.float32)
    wrong = ~np.isfinite(numbers).reshape(len(numbers), -1)
    if wrong.any():
        row, entry = (int(place) for place in np.argwhere(wrong)[0])
        raise ValueError(
            f"{what}: row {first_row + row}: found {numbers.reshape(len(numbers), -1)[row, entry]} in entry {entry}, expected finite "
            "numbers: mend or remove the episode"
        )
    return numbers


def fitted(recorded: RecordedPart, fit: FrameFit, what: str) -> Part:
    """What a part becomes; ValueError names ``what`` where a picture is too small or too large."""
    try:
        return recorded.part(fit)
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None


def note_of_pictures(name: str, recorded: RecordedPart) -> tuple[str, ...]:
    """What a person should know of a part's form."""
    if isinstance(recorded, RecordedPicture) and recorded.channels_first:
        return (f"{name}: channels come first in the file; they are turned to channels last",)
    return ()


def _sides(row_shape: tuple[int, ...]) -> tuple[int, int] | None:
    if len(row_shape) == 2:
        return row_shape[0], row_shape[1]
    if len(row_shape) == 3 and row_shape[2] in (1, 3):
        return row_shape[0], row_shape[1]
    return (row_shape[1], row_shape[2]) if _has_channels_first(row_shape) else None


def _has_channels_first(row_shape: tuple[int, ...]) -> bool:
    return len(row_shape) == 3 and row_shape[2] not in (1, 3) and row_shape[0] in (1, 3)
