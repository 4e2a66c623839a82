"""Decoded pictures as people see them: turned as the recording says, and opaque.

A phone that is held upright records lying pictures and a display matrix that turns them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from lamflow.episodes.fit import FrameFit


@dataclass(frozen=True)
class Turn:
    """What makes pictures upright: their axes are swapped (``transposed``), then rows or columns come in the opposite order."""

    transposed: bool = False
    flips_rows: bool = False
    flips_columns: bool = False

    @classmethod
    def of(cls, picture: av.VideoFrame) -> Turn:
        """As a picture's display matrix has it: x' = a x + c y, y' = b x + d y. Angles between are those of the nearest quarter."""
        matrix = side_data(picture, "DISPLAYMATRIX")
        if not matrix:
            return cls()
        a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
        if abs(b) > abs(a):
            return cls(True, b < 0, c < 0)
        return cls(False, d < 0, a < 0)

    def shape_of(self, picture: av.VideoFrame) -> tuple[int, int]:
        """Height and width of a picture once it is upright."""
        return (picture.width, picture.height) if self.transposed else (picture.height, picture.width)

    def frame(self, picture: av.VideoFrame, fit: FrameFit) -> NDArray[np.uint8]:
        """A picture as ``fit`` makes it when it is upright: uint8 [height, width, 3], RGB. What is scaled is turned, not the reverse:
        there is less of it."""
        if not self.transposed:
            frame = fit.frame(_opaque(picture))
        else:
            frame = replace(fit, height=fit.width, width=fit.height).frame(_opaque(picture)).transpose(1, 0, 2)
        return frame[:: -1 if self.flips_rows else 1, :: -1 if self.flips_columns else 1]


def side_data(picture: av.VideoFrame, kind: str) -> bytes:
    """What a stream says beside a picture, empty where it says nothing of this kind."""
    found: Any = picture.side_data.get(kind)
    return b"" if found is None else bytes(found)


def _opaque(picture: av.VideoFrame) -> av.VideoFrame:
    """A picture over black, where it lets something through."""
    if not any(component.is_alpha for component in picture.format.components):
        return picture
    rgba = picture.to_ndarray(format="rgba")
    alpha = rgba[..., 3:].astype(np.uint16)
    if alpha.min() == 255:
        return picture
    over_black = (rgba[..., :3] * alpha + 127) // 255
    return av.VideoFrame.from_ndarray(over_black.astype(np.uint8), format="rgb24")
