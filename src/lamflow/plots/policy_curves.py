"""Learning curves of policies."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lamflow.plots import style
from lamflow.plots.curves import Series, draw_series, drawn_range, legend_handle


def draw_policy_curves(metrics: pd.DataFrame, *, name: str = "loss/total") -> Figure:
    """Loss over the steps for train and validation; a panel a method, each with its own scale.

    ``metrics``: columns method, seed, step, split, name, value of one environment. ValueError when the metric ``name`` is
    nowhere.
    """
    metrics = metrics[metrics["name"] == name]
    if metrics.empty:
        raise ValueError(f"the metrics have no {name}: these are no metrics of a policy's training")
    styles = style.method_styles(metrics["method"])
    with style.in_style():
        rows, columns = style.panel_grid(len(styles), most_columns=3)
        figure = style.new_figure(0.7 + 1.9 * rows)
        panels: list[Axes] = list(figure.subplots(rows, columns, squeeze=False).flat)
        for panel, (method, look) in zip(panels, styles.items(), strict=False):
            lines = (Series(name, "train", "", look.color, (1.5, 1)), Series(name, "validation", "", look.color))
            draw_series(panel, metrics[metrics["method"] == method], lines)
            style.thousands(panel)
            if drawn_range([panel])[0] >= 0:  # a likelihood's loss may be negative
                panel.set_ylim(bottom=0)
            style.set_title(panel, look.label, columns)
        style.hide_unused(panels, len(styles))
        for panel in panels[::columns]:
            panel.set_ylabel("loss")
        figure.supxlabel("training step", fontsize=9)
        shown = (
            Series(name, "train", "train", style.INK, (1.5, 1)),
            Series(name, "validation", "validation", style.INK),
        )
        figure.legend(handles=[legend_handle(series) for series in shown], loc="outside upper left", ncols=2)
    return figure
