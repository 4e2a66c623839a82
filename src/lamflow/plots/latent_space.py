"""The latent action space: a plane of latents, coloured by the action that the demonstrator really took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from lamflow.plots import style

MOST_POINTS = 4000
"""Points of a panel; more of them are thinned out at random."""


@dataclass(frozen=True)
class LatentPanel:
    """What one panel shows: ``latents`` float [M, D] before quantisation and the true ``actions`` int [M] of M transitions."""

    title: str
    latents: NDArray[np.float32]
    actions: NDArray[np.int64]


def principal_plane(latents: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates [M, 2] on the first two principal components, and the share of the variance that each explains, [2].

    With a single latent dimension the second coordinate is 0.
    """
    centred = latents.astype(float) - latents.mean(0)
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    variance = singular**2 / max(float((singular**2).sum()), np.finfo(float).tiny)
    missing = max(0, 2 - len(axes))
    coordinates = np.pad(centred @ axes[:2].T, ((0, 0), (0, missing)))
    return coordinates, np.pad(variance[:2], (0, missing))


def draw_latent_space(panels: Sequence[LatentPanel], action_names: Sequence[str], *, seed: int = 0) -> Figure:
    """A scatter of each panel's latents on their first two principal components; ``seed`` picks and orders the points."""
    if not panels:
        raise ValueError("no latents to draw")
    rows, columns = style.panel_grid(len(panels), most_columns=3)
    with style.in_style():
        figure = style.new_figure(0.5 + {1: 4.6, 2: 3.5}.get(columns, 2.5) * rows)
        axes: list[Axes] = list(figure.subplots(rows, columns, squeeze=False).flat)
        for axis, panel in zip(axes, panels, strict=False):
            _draw_points(axis, panel, np.random.default_rng(seed))
            style.set_title(axis, panel.title, columns)
        style.hide_unused(axes, len(panels))
        present = sorted(set(np.concatenate([panel.actions for panel in panels]).tolist()))
        handles = [
            Line2D([], [], linestyle="none", marker="o", markersize=6, color=_color(action), label=action_names[action])
            for action in present
        ]
        figure.legend(
            handles=handles, loc="outside upper left", ncols=min(len(handles), 6), columnspacing=1.2, handletextpad=0.2
        )
    return figure


def _draw_points(axis: Axes, panel: LatentPanel, rng: np.random.Generator) -> None:
    if not len(panel.actions):
        axis.text(0.5, 0.5, "no effectful transitions", transform=axis.transAxes, ha="center", color=style.MUTED)
        return
    chosen = rng.permutation(len(panel.actions))[:MOST_POINTS]
    coordinates, explained = principal_plane(panel.latents)
    # Rasterised, or thousands of points would make the SVG file megabytes large; text stays text.
    axis.scatter(
        coordinates[chosen, 0],
        coordinates[chosen, 1],
        c=[_color(int(action)) for action in panel.actions[chosen]],
        s=7,
        alpha=0.6,
        linewidths=0,
        rasterized=True,
    )
    axis.set_aspect("equal", adjustable="datalim")
    axis.set_xlabel(f"component 1 ({explained[0]:.0%} of variance)", fontsize=8)
    axis.set_ylabel(f"component 2 ({explained[1]:.0%})", fontsize=8)
    axis.set_xticks([])
    axis.set_yticks([])


def _color(action: int) -> str:
    return style.ACTION_COLORS[action % len(style.ACTION_COLORS)]
