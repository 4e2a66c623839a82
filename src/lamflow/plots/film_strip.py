"""What each code does to one frame: the forward model's predictions side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from lamflow.plots import style

Frame = NDArray[np.uint8]
Renderer = Callable[[Frame], Frame]
"""A frame uint8 [H, W, C] to an RGB image uint8 [h, w, 3] whose sides are multiples of H and W."""

MOST_PREDICTIONS = 16
_COLUMNS = 6
_CHANGED = "#33D6FF"
"""A colour that no tile has."""
_NOTE = (
    "Over each prediction: the code and its share of the steps that change the frame;\n"
    "of these steps, the action it goes with most, and how often. Codes of none of these steps are left out."
)
_STRONG = 96
"""Difference of a colour channel, of 255, from which on it is drawn in full colour."""
_BRIGHTER, _DARKER = style.VERMILLION, style.BLUE
_DIFFERENCES = LinearSegmentedColormap.from_list("differences", [_DARKER, "white", _BRIGHTER], N=255)


def draw_film_strip(
    *,
    start_frame: Frame,
    true_next: Frame,
    true_action: str,
    predictions: Frame,
    captions: Sequence[str],
    render: Renderer,
    title: str,
) -> Figure:
    """The frame now, the one that really came next, then the prediction under every code, all as they are.

    Cells of grids that differ from now are outlined. Under each picture of pixels (C = 3) lies another of what differs from now.
    ``start_frame`` and ``true_next`` uint8 [H, W, C]; ``true_action``: what was done between them; ``predictions`` uint8
    [K, H, W, C], at most ``MOST_PREDICTIONS``; ``captions``: a text of one or two lines over each of these.
    """
    if len(captions) != len(predictions) or len(predictions) > MOST_PREDICTIONS:
        raise ValueError(
            f"{len(captions)} captions for {len(predictions)} predictions; expected as many, at most {MOST_PREDICTIONS}"
        )
    frames = [start_frame, true_next, *predictions]
    texts = ["now", f"really next:\n{true_action}", *captions]
    pixels = start_frame.shape[-1] == 3
    with style.in_style():
        panels, below, figure = _panels(len(frames), with_differences=pixels)
        for index, (panel, frame, text) in enumerate(zip(panels, frames, texts, strict=True)):
            real = index < 2
            image = render(frame)
            _draw_image(panel, image, strong=real)
            panel.set_title(text, fontsize=8, loc="center", pad=3, fontweight="bold" if real else "normal")
            if not pixels:
                _outline(panel, start_frame, frame, image.shape[:2])
            elif index:
                _draw_image(below[index], difference_picture(start_frame, frame), strong=real)
        figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, fontweight="bold")
        figure.legend(
            handles=_legend(pixels),
            title=_NOTE,
            loc="outside lower left",
            ncols=3,
            frameon=False,
            fontsize=8,
            title_fontsize=8,
            alignment="left",
        )
    return figure


def difference_picture(before: Frame, after: Frame) -> Frame:
    """RGB uint8 [H, W, 3] of two frames of pixels: white where they are equal, else in the colour of brighter or darker, the
    stronger the more they differ."""
    difference = after.astype(np.float32) - before
    largest = np.abs(difference).max(-1)
    signed = np.where(difference.sum(-1) < 0, -largest, largest) / _STRONG
    picture: Frame = _DIFFERENCES((np.clip(signed, -1, 1) + 1) / 2, bytes=True)[..., :3]
    return picture


def _panels(count: int, *, with_differences: bool) -> tuple[list[Axes], list[Axes], Figure]:
    """``count`` panels for pictures, as many for what lies under them (none without differences), and their figure."""
    blocks = -(-count // _COLUMNS)
    heights = [1.0, 1.0] * blocks if with_differences else [1.0] * blocks
    figure = style.new_figure(0.9 + 1.22 * len(heights) + 0.3 * blocks)
    grid = figure.subplots(len(heights), _COLUMNS, squeeze=False)
    step = 2 if with_differences else 1
    pictures, below = list(grid[::step].flat), list(grid[1::2].flat) if with_differences else []
    style.hide_unused(pictures, count)
    style.hide_unused(below, count)
    style.hide_unused(below[:1], 0)
    return pictures[:count], below[:count], figure


def _draw_image(panel: Axes, image: Frame, *, strong: bool) -> None:
    # Nearest would drop lines one pixel wide, such as a grid's, where the picture is drawn smaller than it is.
    panel.imshow(image, interpolation="antialiased")
    panel.grid(visible=False)
    panel.set_xticks([])
    panel.set_yticks([])
    for spine in panel.spines.values():
        spine.set(visible=True, color=style.INK if strong else style.FAINT, linewidth=1.6 if strong else 0.8)


def _legend(pixels: bool) -> list[Patch]:
    if not pixels:
        return [Patch(facecolor="none", edgecolor=_CHANGED, linewidth=1.5, label="cells that differ from now")]
    return [
        Patch(facecolor=_BRIGHTER, label="brighter than now"),
        Patch(facecolor=_DARKER, label="darker than now"),
        Patch(facecolor="white", edgecolor=style.FAINT, label="as now"),
    ]


def _outline(panel: Axes, before: Frame, after: Frame, size: tuple[int, int]) -> None:
    """A rectangle around each cell that differs."""
    height, width = size[0] / before.shape[0], size[1] / before.shape[1]
    for row, column in np.argwhere((before != after).any(-1)):
        corner = (column * width - 0.5, row * height - 0.5)
        panel.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=_CHANGED, linewidth=1.5))
