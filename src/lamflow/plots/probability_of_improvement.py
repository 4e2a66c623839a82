"""How likely each method is to beat a baseline that had the same labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lamflow.evaluation.results import EVERY_ENV
from lamflow.plots import style


def draw_probability_of_improvement(improvement: pd.DataFrame, *, labels: str, baselines: Sequence[str]) -> Figure:
    """Probabilities with their 95% intervals: a row of panels an environment, a column a baseline, a line a method.

    Methods stand in the order of their mean probability in the last row. ``improvement``: columns of ``summary/improvement.csv``.
    ValueError when no method was compared with one of ``baselines`` at ``labels`` labels. Without a row the figure says why.
    """
    if improvement.empty:
        return style.figure_of_text(style.NOTHING_NORMALISED)
    shown = improvement[(improvement["labels"] == labels) & improvement["baseline"].isin(baselines)]
    if shown.empty:
        raise ValueError(f"no method was compared with {', '.join(baselines)} at {labels} labels")
    envs = style.panel_envs(shown["env"], lines=shown["method"].nunique())
    columns = [name for name in baselines if name in set(shown["baseline"])]
    styles = style.method_styles([*improvement["method"], *improvement["baseline"]])
    means = shown[shown["env"] == envs[-1]].groupby("method")["probability"].mean()
    ranks = [*means.sort_values(ascending=False).index, *sorted(set(shown["method"]) - set(means.index))]
    methods = {env: [name for name in ranks if name in set(shown[shown["env"] == env]["method"])] for env in envs}
    heights = [len(methods[env]) for env in envs]
    with style.in_style():
        figure = style.new_figure(0.8 + sum(0.45 + 0.24 * height for height in heights))
        grid = figure.subplots(
            len(envs),
            len(columns),
            sharex=True,
            squeeze=False,
            gridspec_kw={"height_ratios": [height + 1 for height in heights]},
        )
        for panels, env in zip(grid, envs, strict=True):
            for panel, baseline in zip(panels, columns, strict=True):
                _draw_dots(
                    panel,
                    shown[(shown["env"] == env) & (shown["baseline"] == baseline)],
                    methods[env],
                    baseline,
                    styles,
                )
            panels[0].set_title("all environments" if env == EVERY_ENV else env)
            for panel in panels[1:]:
                panel.set_yticklabels([])
        grid[0, 0].set_xlim(-0.03, 1.03)
        for panel, baseline in zip(grid[-1], columns, strict=True):
            panel.set_xlabel(f"P(method beats {styles[baseline].label})")
        figure.suptitle(f"with {labels} labels", x=0.01, ha="left", fontsize=9.5, color=style.MUTED)
    return figure


def _draw_dots(
    panel: Axes,
    table: pd.DataFrame,
    methods: Sequence[str],
    baseline: str,
    styles: Mapping[str, style.MethodStyle],
) -> None:
    """One line a method; the baseline's own stays empty."""
    panel.axvline(0.5, color=style.MUTED, linewidth=1.0, zorder=1)
    for place, method in enumerate(methods):
        look, rows = styles[method], table[table["method"] == method]
        if rows.empty:
            text = "the baseline" if method == baseline else "not compared"
            panel.text(0.03, place, text, va="center", fontsize=8, color=style.MUTED)
            continue
        value, low, high = rows[["probability", "low", "high"]].to_numpy(float)[0]
        panel.plot([low, high], [place, place], color=look.color, linewidth=2.2, alpha=0.55, solid_capstyle="round")
        panel.plot([value], [place], color=look.color, marker=look.marker or "o", markersize=6, linestyle="none")
        panel.annotate(
            f"{value:.2f}", (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=8, color=style.INK
        )
    panel.set_yticks(range(len(methods)), [styles[method].label for method in methods])
    panel.set_ylim(len(methods) - 0.4, -0.6)
    panel.grid(axis="y", visible=False)
    panel.tick_params(axis="y", length=0)
