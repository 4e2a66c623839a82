"""How large the pieces of an episode are, and that its pictures are of one size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import prod

import numpy as np

from lamflow.episodes.fit import FrameFit
from lamflow.spaces import Part

PIECE_BYTES = 8 << 20
"""Of a piece's observations, as they are stored."""


def rows_per_piece(observation: Mapping[str, Part], *, recorded_bytes: int = 0) -> int:
    """So many rows of these parts are some megabytes; ``recorded_bytes``: of one as it was recorded."""
    row_bytes = sum(np.dtype(part.dtype).itemsize * prod(part.shape) for part in observation.values())
    return max(1, PIECE_BYTES // max(row_bytes, recorded_bytes, 1))


def spans(num_rows: int, rows: int) -> Iterator[tuple[int, int]]:
    """First rows and ends of pieces of so many ``rows``, of which the last may have fewer."""
    for start in range(0, num_rows, rows):
        yield start, min(start + rows, num_rows)


def shape_of_frames(fit: FrameFit, pictures: Iterable[tuple[str, int, int]]) -> tuple[int, int]:
    """Height and width of the frames that pictures become; they are given by where they lie, height and width. ValueError where they differ
    in size and nothing says what size frames have."""
    first, *others = pictures
    where, height, width = first
    for other, other_height, other_width in others:
        check_size(fit, other, (other_height, other_width), where, (height, width))
    return fit.shape_of(height, width)


def check_size(fit: FrameFit, where: str, size: tuple[int, int], first: str, expected: tuple[int, int]) -> None:
    """ValueError where a picture has another ``size`` (height, width) than the ``first``, and nothing says what size frames have."""
    if size != expected and (fit.height is None or fit.width is None):
        raise ValueError(
            f"{where}: found a picture of {size[0]} x {size[1]} pixels (height x width), and {first} has {expected[0]} x {expected[1]}, "
            "expected one size: say what size frames have, `frames: {height: 64, width: 64, fit: letterbox}`"
        )
