"""Latents of one environment's LAMs as points in a plane, coloured by the action that the demonstrator really took."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from lamflow.data.latents import LatentStore
from lamflow.data.store import EpisodeStore
from lamflow.data.windows import effectful
from lamflow.envs.spec import EnvironmentSpec
from lamflow.evaluation.codes import name_classes
from lamflow.plots import style
from lamflow.spaces import Discrete

Floats = NDArray[np.float64]
ACTIONS_UNKNOWN = "no effectful transition whose action is known"


@dataclass(frozen=True)
class LatentPanel:
    """What one panel shows: ``latents`` float [M, D] before quantisation and the true ``actions`` of M transitions, int [M], or of
    continuous ones their first principal component, float [M]. ``without``: what it says where there are none."""

    title: str
    latents: NDArray[np.float32]
    actions: NDArray[Any]
    without: str = "no effectful transitions"


@dataclass(frozen=True)
class Plane:
    """Points of a panel, ``coordinates`` [N, 2] with their ``actions`` [N], and what its axes are."""

    coordinates: Floats
    actions: NDArray[Any]
    x_label: str
    y_label: str


def read_latent_panels(
    episodes: Path | str, latents: Sequence[Path | str]
) -> tuple[list[LatentPanel], tuple[str, ...]]:
    """A panel for each latent store of the store ``episodes``, over its effectful transitions whose action is known, and the names of
    actions (classes), none where actions are continuous."""
    store = EpisodeStore.open(episodes)
    arrays = store.load()
    changes = effectful(arrays).numpy()
    rows = changes & arrays.is_labelled
    actions, names = _shown_actions(store.spec, arrays.actions[rows])
    panels = []
    for path in latents:
        latent_store = LatentStore.open(path, episodes=store)
        title = f"{latent_store.attributes['lam']}, seed {latent_store.attributes['seed']}"
        panel = LatentPanel(title, latent_store.load().latents[rows], actions)
        panels.append(replace(panel, without=ACTIONS_UNKNOWN) if changes.any() and not rows.any() else panel)
    return panels, names


def _shown_actions(spec: EnvironmentSpec, actions: NDArray[Any]) -> tuple[NDArray[Any], tuple[str, ...]]:
    """What points are coloured by, [M], and its names, if it has some."""
    if isinstance(spec.action, Discrete):
        return name_classes(spec, actions)
    if not len(actions):
        return np.zeros(0), ()
    centred = actions.astype(float) - actions.mean(0)
    main = np.linalg.svd(centred, full_matrices=False)[2][:1]
    return (centred @ main.T).sum(1), ()


def draw_planes(
    panels: Sequence[LatentPanel], action_names: Sequence[str], project: Callable[[LatentPanel], Plane]
) -> Figure:
    """A scatter of each panel's latents in the plane that ``project`` gives; panels without transitions say so. Without names of actions,
    colours go from the least of their values to the largest."""
    if not panels:
        raise ValueError("no latents to draw")
    rows, columns = style.panel_grid(len(panels), most_columns=3)
    with style.in_style():
        figure = style.new_figure(0.5 + {1: 4.6, 2: 3.5}.get(columns, 2.5) * rows)
        axes: list[Axes] = list(figure.subplots(rows, columns, squeeze=False).flat)
        points: PathCollection | None = None
        for axis, panel in zip(axes, panels, strict=False):
            if len(panel.actions):
                points = _draw_points(axis, project(panel), named=bool(action_names))
            else:
                axis.text(0.5, 0.5, panel.without, transform=axis.transAxes, ha="center", color=style.MUTED)
            style.set_title(axis, panel.title, columns)
        style.hide_unused(axes, len(panels))
        if not action_names:
            if points is not None:
                figure.colorbar(points, ax=axes[: len(panels)], label="action, first principal component", aspect=40)
            return figure
        present = sorted(set(np.concatenate([panel.actions for panel in panels]).tolist()))
        handles = [
            Line2D([], [], linestyle="none", marker="o", markersize=6, color=_color(action), label=action_names[action])
            for action in present
        ]
        figure.legend(
            handles=handles, loc="outside upper left", ncols=min(len(handles), 6), columnspacing=1.2, handletextpad=0.2
        )
    return figure


def _draw_points(axis: Axes, plane: Plane, *, named: bool) -> PathCollection:
    # Rasterised, or thousands of points would make the SVG file megabytes large; text stays text.
    points = axis.scatter(
        plane.coordinates[:, 0],
        plane.coordinates[:, 1],
        c=[_color(int(action)) for action in plane.actions] if named else plane.actions,
        s=7,
        alpha=0.6,
        linewidths=0,
        rasterized=True,
    )
    axis.set_aspect("equal", adjustable="datalim")
    axis.set_xlabel(plane.x_label, fontsize=8)
    axis.set_ylabel(plane.y_label, fontsize=8)
    axis.set_xticks([])
    axis.set_yticks([])
    return points


def _color(action: int) -> str:
    return style.ACTION_COLORS[action % len(style.ACTION_COLORS)]
