"""What each code does to one frame: the forward model's predictions side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from lamflow.plots import style

Frame = NDArray[np.uint8]
Renderer = Callable[[Frame], Frame]
"""A frame uint8 [H, W, C] to an RGB image uint8 [h, w, 3] whose sides are multiples of H and W."""

MOST_PREDICTIONS = 30
_COLUMNS = 8
_CHANGED = "#33D6FF"
"""A colour that no tile has."""
_NOTICEABLE = 32
"""Difference of a colour channel, of 255, from which on a pixel is shown in full colour."""


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
    """The start frame, the frame that really followed, then the prediction under every code.

    Changed cells of grids are outlined. Pixels (C = 3) fade where what followed is about as the start frame, and a prediction
    about as the mean of all predictions: many games scroll, so all of a frame changes, but not all by the code.
    ``start_frame`` and ``true_next`` uint8 [H, W, C]; ``true_action``: what was done between them; ``predictions`` uint8
    [K, H, W, C], at most ``MOST_PREDICTIONS``; ``captions``: a text of one or two lines under each of these.
    """
    if len(captions) != len(predictions) or len(predictions) > MOST_PREDICTIONS:
        raise ValueError(
            f"{len(captions)} captions for {len(predictions)} predictions; expected as many, at most {MOST_PREDICTIONS}"
        )
    frames = [start_frame, true_next, *predictions]
    texts = ["start frame", f"what followed:\n{true_action}", *captions]
    rows = -(-len(frames) // _COLUMNS)
    pixels = start_frame.shape[-1] == 3
    usual = predictions.mean(0).round().astype(np.uint8) if len(predictions) > 1 else start_frame
    with style.in_style():
        figure = style.new_figure(0.35 + 1.19 * rows)
        panels: list[Axes] = list(figure.subplots(rows, _COLUMNS, squeeze=False).flat)
        for index, (panel, frame, text) in enumerate(zip(panels, frames, texts, strict=False)):
            real = index < 2
            image = render(_faded(frame, start_frame if real else usual) if pixels and index else frame)
            _draw_frame(panel, image, strong=real)
            if not pixels:
                _outline(panel, start_frame, frame, image.shape[:2])
            panel.set_xlabel(text, fontsize=7.5, labelpad=3, fontweight="bold" if real else "normal")
        style.hide_unused(panels, len(frames))
        figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, fontweight="bold")
    return figure


def _draw_frame(panel: Axes, image: Frame, *, strong: bool) -> None:
    panel.imshow(image, interpolation="nearest")
    panel.grid(visible=False)
    panel.set_xticks([])
    panel.set_yticks([])
    for spine in panel.spines.values():
        spine.set(visible=True, color=style.INK if strong else style.FAINT, linewidth=1.6 if strong else 0.8)


def _faded(frame: Frame, usual: Frame) -> Frame:
    """``frame`` uint8 [H, W, 3], the paler and greyer the less it differs from ``usual``."""
    difference = np.abs(frame.astype(np.float32) - usual).max(-1, keepdims=True)
    share = np.minimum(1, difference / _NOTICEABLE)
    pale = 255 - (255 - frame.mean(-1, keepdims=True)) * 0.35
    return (share * frame + (1 - share) * pale).round().astype(np.uint8)


def _outline(panel: Axes, before: Frame, after: Frame, size: tuple[int, int]) -> None:
    """A rectangle around each cell that differs."""
    height, width = size[0] / before.shape[0], size[1] / before.shape[1]
    for row, column in np.argwhere((before != after).any(-1)):
        corner = (column * width - 0.5, row * height - 0.5)
        panel.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=_CHANGED, linewidth=1.5))
