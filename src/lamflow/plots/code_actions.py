"""What the codes mean: the distribution of the true action under each code, and how often each code occurs."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from lamflow.evaluation.codes import CodeTable, group_by_action
from lamflow.plots import style

MOST_CODES = 48


def draw_code_actions(table: CodeTable, action_names: Sequence[str], *, title: str) -> Figure:
    """A heat map P(action | code) under a bar chart of code frequencies, codes sorted by their most frequent action."""
    order = group_by_action(table, MOST_CODES)
    dominant = table.counts[order].argmax(1)
    conditional = (table.counts[order] / table.counts[order].sum(1, keepdims=True)).T
    with style.in_style():
        figure = style.new_figure(1.9 + 0.27 * len(action_names))
        bars, heat = figure.subplots(
            2, 1, sharex=True, gridspec_kw={"height_ratios": [1, 0.27 * len(action_names) + 0.4]}
        )
        bars.bar(range(len(order)), table.frequencies[order], width=0.8, color=style.MUTED)
        bars.set_ylabel("share")
        bars.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        bars.grid(axis="x", visible=False)
        bars.tick_params(axis="x", length=0, labelbottom=False)
        bars.set_title(f"{title}\n", fontsize=9.5)
        bars.text(0, 1.08, _subtitle(table, order), transform=bars.transAxes, fontsize=8.5, color=style.MUTED)
        image = heat.imshow(conditional, aspect="auto", cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
        for place in np.flatnonzero(np.diff(dominant)):
            heat.axvline(place + 0.5, color="white", linewidth=2.5)
        heat.set_yticks(range(len(action_names)), action_names)
        heat.grid(visible=False)
        heat.tick_params(length=0)
        heat.set_xlabel("code, grouped by its most frequent action")
        _name_codes(heat, [table.labels[code] for code in order])
        figure.colorbar(image, ax=[bars, heat], label="P(action | code)", pad=0.01, aspect=30, fraction=0.03)
    return figure


def _subtitle(table: CodeTable, order: NDArray[np.int64]) -> str:
    part = (
        ""
        if len(order) == len(table.codes)
        else f"; the {len(order)} shown cover {style.percent(table.frequencies[order].sum())}"
    )
    return f"{len(table.codes):,} codes occur{part}. Best code-to-action table: {table.purity:.1%} right."


def _name_codes(heat: matplotlib.axes.Axes, names: Sequence[str]) -> None:
    """Names of the codes as ticks, those of the film strip."""
    longest = max(map(len, names))
    heat.set_xticks(
        range(len(names)), names, rotation=0 if longest <= 2 else 90, fontsize=8 if len(names) <= 32 else 6.5
    )
