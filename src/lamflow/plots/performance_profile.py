"""Performance profiles: how many of a method's agents do better than each normalised return."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lamflow.data.label_budgets import REFERENCE_LABELS
from lamflow.evaluation.results import EVERY_ENV
from lamflow.plots import style


def draw_performance_profile(profile: pd.DataFrame) -> Figure:
    """Fraction of agents above each threshold with its 95% band, a line a method; a panel an environment, and one for all of them.

    ``profile``: columns of ``summary/profile.csv``, which holds one number of labels and the methods that have none. Without a row
    the figure says why.
    """
    if profile.empty:
        return style.figure_of_text(style.NOTHING_NORMALISED)
    envs = style.panel_envs(profile["env"])
    styles = style.method_styles(profile["method"])
    compared = sorted(set(profile["labels"]) - set(REFERENCE_LABELS))
    rows, columns = style.panel_grid(len(envs))
    with style.in_style():
        labels = [look.label for look in styles.values()]
        figure = style.new_figure(
            0.75 + style.legend_height(labels) + {1: 3.4, 2: 2.6, 3: 2.2}.get(columns, 1.8) * rows
        )
        panels: list[Axes] = list(figure.subplots(rows, columns, sharey=True, squeeze=False).flat)
        for panel, env in zip(panels, envs, strict=False):
            _draw_panel(panel, profile[profile["env"] == env], styles)
            style.set_title(panel, "all environments" if env == EVERY_ENV else env, columns)
        style.hide_unused(panels, len(envs))
        panels[0].set_ylim(-0.02, 1.02)
        for panel in panels[: len(envs)]:
            panel.set_xlim(profile["threshold"].min(), profile["threshold"].max())
        for panel in panels[::columns]:
            panel.set_ylabel("fraction of agents above τ", fontsize=9 if columns < 4 else 8)
        figure.supxlabel("normalised return τ", fontsize=9)
        figure.legend(
            handles=[style.legend_line(look.color, look.label, look.dashes, width=1.7) for look in styles.values()],
            title=f"with {', '.join(compared)} labels" if compared else None,
            alignment="left",
            loc="outside upper left",
            ncols=style.legend_columns(labels),
            columnspacing=1.4,
            handlelength=2.2,
        )
    return figure


def _draw_panel(panel: Axes, table: pd.DataFrame, styles: Mapping[str, style.MethodStyle]) -> None:
    for place in (0, 1):  # random and the demonstrator
        panel.axvline(place, color=style.FAINT, linewidth=1.2, zorder=1)
    for method, look in styles.items():
        rows = table[table["method"] == method].sort_values("threshold")
        panel.fill_between(rows["threshold"], rows["low"], rows["high"], color=look.color, alpha=0.16, linewidth=0)
        (line,) = panel.plot(rows["threshold"], rows["fraction"], color=look.color, linewidth=1.7, zorder=3)
        style.dash(line, look.dashes)
