"""How RGB frames enter a network: as levels about mid-grey, whose scale is left to the first convolution's weights.

A network reads pixels in -.5 .. .5 (LAPO's range). Levels about mid-grey, -127.5 .. 127.5, need one pass less over the frames and are
exact in bfloat16; a convolution is linear, so that its weights divided by 255 give the same function, zero padding included.

Shapes: B batch, K frames, H rows, W columns, C channels, P channels of one frame (3 times the pixels of a patch). Frames are uint8
[B, K, H, W, 3]; planes are [B, C, H, W] in channels_last memory, which is how the frames lie anyway.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

LEVELS = 255
"""Difference between white and black, in levels."""

_CACHED_LEVELS = 1 << 19
"""Levels whose bytes fit into a core's cache."""

MID_GREY = 128
"""The nearest that a byte has."""

PATCH_SIDE = 4
"""Side of the patches of the patch stems, in pixels. A row of a patch, four pixels of three colours, is three words of four bytes:
moved as words, pixels are moved faster."""


def pixel_planes(frames_BKHWC: Tensor) -> Tensor:
    """uint8 [B, K, H, W, 3] to [B, 3K, H, W]; the first frame's channels come first."""
    planes_BHWC = torch.cat(frames_BKHWC.unbind(1), dim=-1) if frames_BKHWC.shape[1] > 1 else frames_BKHWC[:, 0]
    return planes_BHWC.permute(0, 3, 1, 2)


def row_planes(frames_BKHWC: Tensor) -> Tensor:
    """uint8 [B, K, H, W, 3] to [B, K * PATCH_SIDE * 3, H, W / PATCH_SIDE]: the rows of patches, frame by frame, pixel by pixel."""
    words = _row_words(frames_BKHWC)
    return _levels(torch.cat(words.unbind(1), dim=-1)).permute(0, 3, 1, 2)


def patch_planes(frames_BKHWC: Tensor) -> Tensor:
    """uint8 [B, K, H, W, 3] to [B, K * PATCH_SIDE**2 * 3, H / PATCH_SIDE, W / PATCH_SIDE], frame by frame; of a patch's channels
    those of its upper left pixel come first."""
    words = _row_words(frames_BKHWC).unflatten(2, (-1, PATCH_SIDE))
    return _levels(words.permute(0, 2, 4, 1, 3, 5).flatten(3)).permute(0, 3, 1, 2)


def _row_words(frames_BKHWC: Tensor) -> Tensor:
    """int32 [B, K, H, W / PATCH_SIDE, 3]; frames whose sides are no multiples of a patch's grow at the right and below, in mid-grey.
    In a graph that is exported, the same bytes as uint8 [..., 12]: other runtimes know no words."""
    below, right = (-side % PATCH_SIDE for side in frames_BKHWC.shape[2:4])
    if below or right:
        frames_BKHWC = functional.pad(frames_BKHWC, (0, 0, 0, right, 0, below), value=MID_GREY)
    rows_BKHX = frames_BKHWC.flatten(3)
    if torch.compiler.is_exporting():
        return rows_BKHX.unflatten(3, (-1, 3 * PATCH_SIDE))
    return rows_BKHX.view(torch.int32).unflatten(3, (-1, 3))


def _levels(words: Tensor) -> Tensor:
    """The bytes of what ``_row_words`` answers, uint8."""
    return words if words.dtype == torch.uint8 else words.view(torch.uint8)


def about_grey(planes_BCHW: Tensor, dtype: torch.dtype) -> Tensor:
    """uint8 levels 0 .. 255 to -127.5 .. 127.5, exact also in bfloat16.

    On a CPU part by part, so that the second pass over a part finds it in the cache, but for a graph that is exported, which takes any
    batch.
    """
    if planes_BCHW.device.type != "cpu" or torch.compiler.is_exporting():
        return planes_BCHW.to(dtype).sub_(LEVELS / 2)
    levels_BCHW = torch.empty_like(planes_BCHW, dtype=dtype)
    rows = max(1, _CACHED_LEVELS // planes_BCHW.shape[1:].numel())
    for part, planes in zip(levels_BCHW.split(rows), planes_BCHW.split(rows), strict=True):
        part.copy_(planes).sub_(LEVELS / 2)
    return levels_BCHW


class PixelConv2d(nn.Conv2d):
    """A convolution over levels about mid-grey whose weights are those over pixels in -.5 .. .5."""

    def forward(self, planes_BCHW: Tensor) -> Tensor:
        """[B, O, H', W'] as the settings of the convolution have it."""
        return self._conv_forward(planes_BCHW, self.weight / LEVELS, self.bias)


class PatchStem(nn.Conv2d):
    """An 8x8 convolution with stride 4 over pixels in -.5 .. .5, whose side it takes to a quarter.

    It reads four pixels of a row as one place of many channels, as patches lie, which is a kernel of 8 rows by three places with zeros
    at either end.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, kernel_size=8, stride=PATCH_SIDE, padding=2)

    def forward(self, rows_BCHW: Tensor) -> Tensor:
        """``row_planes`` as levels about mid-grey, [B, 4 * inputs, H, W / 4], to [B, outputs, H / 4, W / 4]."""
        places = functional.pad(self.weight / LEVELS, (2, 2)).unflatten(3, (3, PATCH_SIDE)).unflatten(1, (-1, 3))
        kernel = places.permute(0, 1, 5, 2, 3, 4).flatten(1, 3)
        return functional.conv2d(rows_BCHW, kernel, self.bias, stride=(PATCH_SIDE, 1), padding=(2, 1))


def network_dtype(device: torch.device, default: torch.dtype) -> torch.dtype:
    """The type in which a network's first convolution reads its planes: autocast's where it is on, else ``default``."""
    return torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else default
