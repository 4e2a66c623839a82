"""By how many levels pixels differ in frames that should be equal: codecs change pixels where nothing moves.

Shapes: n frames [n, H, W, C], uint8.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MOST = 32
"""No codec is taken to change a pixel by more levels where nothing moves."""
SHARE = 0.01
"""So many of the pairs of frames are still, at least, and so few of them, at most, lie in the gap between those and the others."""


class ToleranceMeter:
    """Counts how much consecutive frames of episodes differ: by the largest difference of a pixel, in levels of 255."""

    def __init__(self) -> None:
        self._counts = np.zeros(256, np.int64)
        self._last: NDArray[np.uint8] | None = None

    def begin(self) -> None:
        """Begin an episode: its first frame follows none."""
        self._last = None

    def add(self, frames: NDArray[np.uint8]) -> None:
        """Further frames of the episode."""
        for frame in frames:
            if self._last is not None:
                difference = np.maximum(frame, self._last) - np.minimum(frame, self._last)
                self._counts[int(difference.max(initial=0))] += 1
            self._last = frame
        if self._last is not None:
            self._last = self._last.copy()

    @property
    def tolerance(self) -> int:
        """The smallest difference above which there is a gap: pairs of still frames lie below it, those in which something moves above
        twice of it. 0 where no such gap is found, as where all of a picture moves."""
        below = np.cumsum(self._counts)
        for level in range(MOST + 1):
            still, gap_end = int(below[level]), min(2 * level + 4, 255)
            in_gap = int(below[gap_end]) - still
            if still and still >= SHARE * int(below[-1]) and in_gap <= SHARE * still:
                return level
        return 0
