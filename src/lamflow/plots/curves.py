"""Lines of metrics over training steps: thin lines are seeds, thick lines their mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from lamflow.plots import style


@dataclass(frozen=True)
class Series:
    """One line of a panel: the metric ``name`` of ``split``, how it is called and how it looks."""

    name: str
    split: str
    label: str
    color: str
    dashes: tuple[float, ...] = ()


def mean_over_seeds(runs: Mapping[int, pd.Series]) -> pd.Series:
    """Mean over the seeds at the steps that all of them have."""
    return pd.concat(runs.values(), axis=1, join="inner").sort_index().mean(axis=1)


def draw_series(panel: Axes, table: pd.DataFrame, lines: Sequence[Series]) -> None:
    """Draw ``lines`` from ``table`` (columns seed, step, split, name, value); values that are not finite are left out."""
    for series in lines:
        rows = table[(table["name"] == series.name) & (table["split"] == series.split) & np.isfinite(table["value"])]
        runs = {int(seed): run.groupby("step")["value"].last() for seed, run in rows.groupby("seed")}
        if not runs:
            continue
        for run in runs.values():
            if len(runs) > 1:
                panel.plot(run.index, run, color=series.color, linewidth=0.7, alpha=0.45, **_spot(run, 2.5))
        mean = mean_over_seeds(runs)
        (line,) = panel.plot(mean.index, mean, color=series.color, linewidth=1.9, zorder=3, **_spot(mean, 5))
        style.dash(line, series.dashes)


def drawn_range(panels: Sequence[Axes]) -> tuple[float, float]:
    """Lowest and highest value of the lines of some panels; 0 and 1 without any."""
    lines = [np.asarray(line.get_ydata(), float) for panel in panels for line in panel.lines]
    values = np.concatenate(lines) if lines else np.array([0.0, 1.0])
    return float(values.min()), float(values.max())


def legend_handle(series: Series) -> Line2D:
    """What stands for a series in a legend."""
    return style.legend_line(series.color, series.label, series.dashes, width=1.9)


def _spot(run: pd.Series, size: float) -> dict[str, Any]:
    """A marker where a single value would be no line."""
    return {"marker": "o", "markersize": size} if len(run) == 1 else {}
