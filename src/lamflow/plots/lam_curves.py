"""Learning curves of latent action models: what they predict, what their latents tell, how much of the codebook they use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lamflow.plots import style
from lamflow.plots.curves import Series, draw_series, drawn_range, legend_handle

MOST_COLUMNS = 4
"""Models side by side; more of them take further rows."""


@dataclass(frozen=True)
class _Row:
    """A row of panels that share an axis."""

    ylabel: str
    series: tuple[Series, ...]
    log: bool = False
    limits: tuple[float, float] | None = None


_LAM_ROWS = (
    _Row(
        "loss (nats a frame)",
        (
            Series("loss/reconstruction", "train", "reconstruction,\ntrain", style.SKY),
            Series("fdm/loss", "validation", "reconstruction,\nvalidation", style.BLUE),
            Series("fdm/loss_shuffled_latent", "validation", "shuffled latent", style.VERMILLION, (4, 1.5)),
            Series("fdm/loss_copy_last_frame", "validation", "copy last frame", style.MUTED, (1.2, 1.5)),
        ),
        log=True,
    ),
    _Row(
        "accuracy",
        (
            Series("probe/mlp_accuracy_effectful", "validation", "action probe,\nMLP", style.GREEN),
            Series("probe/linear_accuracy_effectful", "validation", "action probe,\nlinear", style.ORANGE),
            Series("probe/mlp_r2_effectful", "validation", "action probe,\nMLP, R²", style.GREEN),
            Series("probe/linear_r2_effectful", "validation", "action probe,\nlinear, R²", style.ORANGE),
            Series("probe/mlp_accuracy_classes", "validation", "action probe,\nMLP, classes", style.BLUE),
            Series("fdm/changed_cell_accuracy", "validation", "changed cells\npredicted", style.PURPLE, (4, 1.5)),
            Series("fdm/change_explained", "validation", "change of\nframes explained", style.PURPLE, (4, 1.5)),
        ),
        limits=(0, 1.02),
    ),
    _Row(
        "codebook perplexity",
        (Series("codebook/perplexity", "validation", "codes in use\n(perplexity)", style.BLUE),),
    ),
)


def draw_lam_curves(metrics: pd.DataFrame) -> Figure:
    """Losses with their references, probe and prediction accuracy, and codebook perplexity over the steps; a column a LAM,
    ``MOST_COLUMNS`` side by side.

    ``metrics``: columns lam, seed, step, split, name, value (see ``evaluation.metrics.read_runs``) of one environment.
    Metrics that a LAM does not have are left out. ValueError when no ``loss/reconstruction`` was logged.
    """
    if metrics[metrics["name"] == "loss/reconstruction"].empty:
        raise ValueError("the metrics have no loss/reconstruction: these are no metrics of a latent action model")
    lams = sorted(metrics["lam"].unique())
    units = {"nats a frame": "squared error"} if (metrics["name"] == "fdm/change_explained").any() else {}
    units |= {"accuracy": "R²"} if (metrics["name"] == "probe/mlp_r2").any() else {}
    with style.in_style():
        columns = min(len(lams), MOST_COLUMNS)
        blocks = [lams[start : start + columns] for start in range(0, len(lams), columns)]
        figure = style.new_figure(0.6 + 1.9 * len(_LAM_ROWS) * len(blocks))
        grid = figure.subplots(len(_LAM_ROWS) * len(blocks), columns, sharex=True, sharey="row", squeeze=False)
        for line, panels in enumerate(grid):
            row, block = _LAM_ROWS[line % len(_LAM_ROWS)], blocks[line // len(_LAM_ROWS)]
            for panel, lam in zip(panels, block, strict=False):
                draw_series(panel, metrics[metrics["lam"] == lam], row.series)
                if not panel.lines:
                    panel.text(0.5, 0.5, "none logged", transform=panel.transAxes, ha="center", color=style.MUTED)
                if row is _LAM_ROWS[0]:
                    style.set_title(panel, lam, columns)
            _finish_row(panels[: len(block)], row)
            style.hide_unused(panels, len(block))
            panels[0].set_ylabel(reduce(lambda label, unit: label.replace(*unit), units.items(), row.ylabel))
            handles = [legend_handle(series) for series in row.series if series.name in set(metrics["name"])]
            panels[len(block) - 1].legend(
                handles=handles, loc="center left", bbox_to_anchor=(1.02, 0.5), handlelength=1.8, labelspacing=0.8
            )
        figure.supxlabel("training step", fontsize=9)
    return figure


def _finish_row(panels: Sequence[Axes], row: _Row) -> None:
    """The axes that the panels of a row share."""
    lowest, highest = drawn_range(panels)
    style.thousands(panels[0])
    if row.log:
        style.log_scale(panels[0])
    elif row.limits:
        panels[0].set_ylim(min(lowest, row.limits[0]), row.limits[1])
    else:
        panels[0].set_ylim(0, 1.08 * highest)
