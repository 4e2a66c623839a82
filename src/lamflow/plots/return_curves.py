"""Normalised return against steps, of methods that are played while they are trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from lamflow.data.label_budgets import ONLINE_LABELS
from lamflow.evaluation.published import ONLINE, published_mean
from lamflow.evaluation.results import EVERY_ENV
from lamflow.plots import style

_MARKS = dict(zip(ONLINE.values(), ("s", "^", "o"), strict=True))
"""Marker of each published final value."""
_LEFT = 0.93
"""Where its line begins, as a share of the panel's width; it ends at the right edge."""


def draw_return_curves(
    curves: pd.DataFrame,
    *,
    published: pd.DataFrame | None = None,
    nothing: str,
    steps: str,
) -> Figure:
    """Normalised return against ``steps``, the mean over seeds with its 95% band; panels as in the label curve.

    ``curves``: as ``evaluation.online.curve_estimates`` gives them, their steps in ``env_steps``. ``published`` (see
    ``read_published``): final values after 4 M steps, drawn at the right edge, in the panel of all environments if it has each of
    them. Where no curve has a point, as in a trial of a few steps, the figure says ``nothing``.
    """
    if curves.empty:
        return style.figure_of_text(nothing)
    envs = style.panel_envs(curves["env"])
    styles = style.method_styles(curves["method"])
    marks = {env: _published_marks(published, env, curves) for env in envs}
    rows, columns = style.panel_grid(len(envs))
    with style.in_style():
        figure = style.new_figure(0.75 + {1: 3.4, 2: 3.0, 3: 2.5}.get(columns, 2.0) * rows)
        panels: list[Axes] = list(figure.subplots(rows, columns, sharey=True, squeeze=False).flat)
        for panel, env in zip(panels, envs, strict=False):
            _draw_panel(panel, curves[curves["env"] == env], styles, marks[env])
            style.set_title(panel, "all environments" if env == EVERY_ENV else env, columns)
        style.hide_unused(panels, len(envs))
        for panel in panels[::columns]:
            panel.set_ylabel("normalised return", fontsize=9 if columns < 4 else 8)
        figure.supxlabel(steps, fontsize=9)
        handles = [style.legend_line(look.color, look.label, look.dashes, width=1.8) for look in styles.values()]
        drawn = [method for method in _MARKS if any(method in found for found in marks.values())]
        handles += [
            Line2D([], [], **_look(method) | {"linestyle": "-"}, label=f"{method[:-1]}, 4M steps)") for method in drawn
        ]
        ncols = style.legend_columns([str(handle.get_label()) for handle in handles])
        figure.legend(handles=handles, loc="outside upper left", ncols=ncols, columnspacing=1.4, handlelength=2.2)
    return figure


def _published_marks(published: pd.DataFrame | None, env: str, curves: pd.DataFrame) -> dict[str, float]:
    if published is None:
        return {}
    table = published_mean(published, set(curves["env"]) - {EVERY_ENV} if env == EVERY_ENV else [env])
    table = table[table["labels"] == ONLINE_LABELS]
    return dict(zip(table["method"], table["normalized"], strict=True))


def _look(method: str) -> dict[str, Any]:
    return style.PUBLISHED | {"marker": _MARKS[method], "markersize": 4.5}


def _draw_panel(
    panel: Axes, table: pd.DataFrame, styles: Mapping[str, style.MethodStyle], published: Mapping[str, float]
) -> None:
    panel.axhline(1, color=style.FAINT, linewidth=1.2, zorder=1)
    panel.annotate(
        "demonstrator", (0, 1), (2, 2), ("axes fraction", "data"), "offset points", fontsize=7.5, color=style.MUTED
    )
    for method, look in styles.items():
        rows = table[table["method"] == method]
        x, value, low, high = rows[["env_steps", "mean", "low", "high"]].to_numpy(float).T
        panel.fill_between(x, low, high, color=look.color, alpha=0.18, linewidth=0)
        spot = "o" if len(x) == 1 else ""  # a single value would be no line
        (line,) = panel.plot(x, value, color=look.color, linewidth=1.7, zorder=3, marker=spot)
        style.dash(line, look.dashes)
    for method, value in published.items():
        panel.plot([_LEFT, 1], [value, value], color=style.MUTED, linewidth=1.2, transform=panel.get_yaxis_transform())
        panel.plot([_LEFT], [value], transform=panel.get_yaxis_transform(), zorder=4, **_look(method))
    panel.set_xlim(0, float(table["env_steps"].max()) * (1.12 if published else 1.0))
    panel.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 4, 5, 10]))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda steps, _: step_text(steps)))


def step_text(steps: float) -> str:
    """A number of steps as a tick: 0, 500, 20k, 2.5M."""
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if steps >= size:
            return f"{steps / size:g}{unit}"
    return f"{steps:g}"
