"""All methods at one number of labels, as dots with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lamflow.data.label_budgets import REFERENCE_LABELS
from lamflow.evaluation.results import EVERY_ENV
from lamflow.evaluation.settings import HEADLINE
from lamflow.plots import style

_QUANTITIES = {
    "normalised return (mean)": ("mean", "mean_low", "mean_high"),
    "success rate": ("success_rate", "success_low", "success_high"),
}
_OTHER_SPLIT = "normalised return, {} levels"


def draw_method_comparison(aggregate: pd.DataFrame, *, labels: str) -> Figure:
    """Normalised return (left) and success rate of every method with ``labels`` action labels; a row of panels an environment, and a
    column more with the returns of each further split that was played. Methods stand in the order of their return in the last row; those
    with no number of labels (oracle BC: all, random: none, methods trained online) below them.

    ``aggregate``: columns of ``summary/aggregate.csv``, ``labels`` as text. ValueError when no method has that budget. Without a
    row the figure says why.
    """
    if aggregate.empty:
        return style.figure_of_text(style.NOTHING_NORMALISED)
    if not (aggregate["labels"] == labels).any():
        raise ValueError(
            f"no method was given {labels} labels; the table has {', '.join(sorted(aggregate['labels'].unique()))}"
        )
    both = aggregate[aggregate["labels"].isin((labels, *REFERENCE_LABELS))]
    shown = both[both["split"] == HEADLINE]
    columns = [(name, HEADLINE, drawn) for name, drawn in _QUANTITIES.items()]
    columns += [
        (_OTHER_SPLIT.format(split), split, _QUANTITIES["normalised return (mean)"])
        for split in both["split"].unique()
        if split != HEADLINE
    ]
    envs = style.panel_envs(shown["env"], lines=shown["method"].nunique())
    styles = style.method_styles(aggregate["method"])
    ranks = shown.sort_values("mean", ascending=False).groupby("env")["method"].agg(list)[envs[-1]]
    heights = [shown[shown["env"] == env]["method"].nunique() for env in envs]
    with style.in_style():
        figure = style.new_figure(0.7 + sum(0.45 + 0.26 * height for height in heights))
        grid = figure.subplots(
            len(envs),
            len(columns),
            sharex="col",
            squeeze=False,
            gridspec_kw={"height_ratios": [h + 1 for h in heights]},
        )
        for panels, env in zip(grid, envs, strict=True):
            for panel, (_, split, drawn) in zip(panels, columns, strict=True):
                _draw_dots(panel, both[(both["env"] == env) & (both["split"] == split)], styles, drawn, ranks)
            panels[0].set_title("all environments" if env == EVERY_ENV else env)
            for panel in panels[1:]:
                panel.set_yticklabels([])
        for panel, (name, *_) in zip(grid[-1], columns, strict=True):
            panel.set_xlabel(name)
            left, right = panel.get_xlim()  # shared by the column, so it has to wait for the last row
            panel.set_xlim(min(left, -0.03), max(right, 1.03))
        figure.suptitle(f"with {labels} labels", x=0.01, ha="left", fontsize=9.5, color=style.MUTED)
    return figure


def _draw_dots(
    panel: Axes,
    table: pd.DataFrame,
    styles: Mapping[str, style.MethodStyle],
    columns: tuple[str, str, str],
    ranks: Sequence[str],
) -> None:
    """One line a method, in the order of ``ranks`` (those not in it last), references below the others."""
    order = {method: index for index, method in enumerate(ranks)}
    below = set(table[table["labels"].isin(REFERENCE_LABELS)]["method"])
    methods = sorted(
        table["method"].unique(), key=lambda method: (method in below, order.get(method, len(order)), method)
    )
    for place, method in enumerate(methods):
        look = styles[method]
        value, low, high = table[table["method"] == method][list(columns)].to_numpy(float)[0]
        panel.plot([low, high], [place, place], color=look.color, linewidth=2.2, alpha=0.55, solid_capstyle="round")
        panel.plot([value], [place], color=look.color, marker=look.marker or "o", markersize=6, linestyle="none")
        panel.annotate(
            f"{value:z.2f}", (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=8, color=style.INK
        )
    panel.set_yticks(range(len(methods)), [styles[method].label for method in methods])
    panel.set_ylim(len(methods) - 0.4, -0.6)
    panel.grid(axis="y", visible=False)
    panel.tick_params(axis="y", length=0)
