"""Normalised return against the number of action labels: the figure that tells whether latent actions save labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lamflow.data.label_budgets import REFERENCE_LABELS, LabelBudget
from lamflow.evaluation.published import OFFLINE, published_mean
from lamflow.evaluation.results import EVERY_ENV, whole_of
from lamflow.plots import style

_CHARACTER = 6.4
"""Width of a digit of a tick, with some space, in points."""
_ONLINE_DASHES = (4, 2)
STATISTICS = {"mean": "normalised return (mean)", "iqm": "normalised return (IQM)", "success": "success rate"}
_COLUMNS = {"mean": ("mean", "mean_low", "mean_high"), "iqm": ("iqm", "iqm_low", "iqm_high"),
            "success": ("success_rate", "success_low", "success_high")}  # fmt: skip


def draw_label_curve(
    aggregate: pd.DataFrame,
    *,
    statistic: str = "mean",
    trajectory_lengths: Mapping[str, float] | None = None,
    published: pd.DataFrame | None = None,
) -> Figure:
    """One panel an environment (and one for all of them, if there), a curve a method with its 95% interval as a band.

    ``aggregate``: columns of ``summary/aggregate.csv``, ``labels`` as text. ``statistic``: mean, iqm or success. Budgets in
    trajectories stand at their number of transitions where ``trajectory_lengths`` (env -> mean number of transitions) is given,
    else as a category of their own at the right. ``published`` (see ``read_published``) is drawn beside the means, in the panel of all
    environments if it has each of them. ValueError when there is no row with a label budget. Without a row the figure says why.
    """
    if aggregate.empty:
        return style.figure_of_text(style.NOTHING_NORMALISED)
    if statistic not in STATISTICS:
        raise ValueError(f"statistic {statistic!r}: expected one of {', '.join(STATISTICS)}")
    if aggregate[~aggregate["labels"].isin(REFERENCE_LABELS)].empty:
        raise ValueError(
            "no method with a label budget to draw; the table holds only references (labels 'all', '0' and 'online')"
        )
    envs = style.panel_envs(aggregate["env"])
    styles = style.method_styles(aggregate["method"])
    points = {env: _published_points(published if statistic == "mean" else None, env, aggregate) for env in envs}
    rows, columns = style.panel_grid(len(envs))
    width = (72 * style.WIDTH - 35) / columns - 15
    with style.in_style():
        extra = style.legend_height([look.label for look in styles.values()])
        figure = style.new_figure(0.75 + extra + {1: 3.4, 2: 3.0, 3: 2.7}.get(columns, 2.0) * rows)
        panels: list[Axes] = list(figure.subplots(rows, columns, sharey=True, squeeze=False).flat)
        for panel, env in zip(panels, envs, strict=False):
            length = (trajectory_lengths or {}).get(whole_of(env))
            _draw_panel(
                panel, aggregate[aggregate["env"] == env], styles, _COLUMNS[statistic], length, width, points[env]
            )
            style.set_title(panel, "all environments" if env == EVERY_ENV else env, columns)
        style.hide_unused(panels, len(envs))
        for panel in panels[::columns]:
            panel.set_ylabel(STATISTICS[statistic], fontsize=9 if columns < 4 else 8)
        figure.supxlabel("action labels", fontsize=9)
        curves = set(aggregate[~aggregate["labels"].isin(REFERENCE_LABELS)]["method"])
        _draw_legend(figure, styles, curves, published=any(points.values()))
    return figure


def _published_points(published: pd.DataFrame | None, env: str, aggregate: pd.DataFrame) -> dict[str, float]:
    """LAPO's published mean at each label budget of ``env``'s panel, empty where there is none."""
    if published is None:
        return {}
    table = published_mean(published, set(aggregate["env"]) - {EVERY_ENV} if env == EVERY_ENV else [env])
    drawn = aggregate[aggregate["env"] == env]["labels"]
    table = table[(table["method"] == OFFLINE) & table["labels"].isin(drawn)]
    return dict(zip(table["labels"], table["normalized"], strict=True))


def label_positions(labels: Sequence[str], trajectory_length: float | None) -> dict[str, float]:
    """Place of each label budget on a log2 axis; trajectories without a known length stand a gap to the right of the rest."""
    budgets = {name: LabelBudget.parse(name) for name in labels}
    positions = {name: float(np.log2(found.count)) for name, found in budgets.items() if found.unit == "transitions"}
    trajectories = sorted(set(budgets) - set(positions), key=budgets.__getitem__)
    right = max(positions.values(), default=0.0)
    for index, name in enumerate(trajectories):
        positions[name] = (
            float(np.log2(budgets[name].count * trajectory_length)) if trajectory_length else right + 2.0 * (index + 1)
        )
    return positions


def tick_text(labels: str) -> str:
    """A label budget as a tick: trajectories take the second line, so that they never collide with numbers."""
    budget = LabelBudget.parse(labels)
    return f"{budget.count:,}" if budget.unit == "transitions" else f"\n{budget.count:,} traj."


def readable_ticks(positions: Mapping[str, float], width: float) -> dict[str, str]:
    """Text of each label budget's tick, empty where it would touch the one to its left on an axis ``width`` points wide."""
    ends = {"transitions": -np.inf, "trajectories": -np.inf}  # of the last text on either line
    scale = width / (1.1 * max(np.ptp(list(positions.values())), 1.0))
    texts = {}
    for name in sorted(positions, key=positions.__getitem__):
        text, line = tick_text(name), LabelBudget.parse(name).unit
        half = 0.5 * _CHARACTER * len(text.strip())
        fits = positions[name] * scale - half > ends[line]
        texts[name] = text if fits else ""
        if fits:
            ends[line] = positions[name] * scale + half
    return texts


def _draw_panel(
    panel: Axes,
    table: pd.DataFrame,
    styles: Mapping[str, style.MethodStyle],
    columns: tuple[str, str, str],
    trajectory_length: float | None,
    width: float,
    published: Mapping[str, float],
) -> None:
    budgets = sorted((name for name in table["labels"].unique() if name not in REFERENCE_LABELS), key=LabelBudget.parse)
    positions = label_positions(budgets, trajectory_length)
    if published:
        panel.plot([positions[name] for name in published], list(published.values()), **style.PUBLISHED, zorder=4)
    if columns[0] != "success_rate":
        panel.axhline(1, color=style.FAINT, linewidth=1.2, zorder=1)
        panel.annotate(
            "demonstrator", (0, 1), (2, 2), ("axes fraction", "data"), "offset points", fontsize=7.5, color=style.MUTED
        )
    for method, look in styles.items():
        rows = table[table["method"] == method]
        references = rows[rows["labels"].isin(REFERENCE_LABELS)]
        for value, low, high in references[list(columns)].to_numpy(float):
            panel.axhspan(low, high, color=look.color, alpha=0.13, linewidth=0)
            panel.axhline(value, color=look.color, linewidth=1.4, dashes=look.dashes or _ONLINE_DASHES)
        curve = rows.drop(references.index)
        if curve.empty:
            continue
        curve = curve.assign(x=curve["labels"].map(positions)).sort_values("x")
        x, value, low, high = curve[["x", *columns]].to_numpy(float).T
        panel.fill_between(x, low, high, color=look.color, alpha=0.18, linewidth=0)
        (line,) = panel.plot(x, value, color=look.color, marker=look.marker, markersize=4.5, linewidth=1.8, zorder=3)
        style.dash(line, look.dashes)
    ticks = readable_ticks(positions, width)
    panel.set_xticks([positions[name] for name in ticks], list(ticks.values()))
    panel.grid(axis="x", visible=False)


def _draw_legend(figure: Figure, styles: Mapping[str, style.MethodStyle], curves: set[str], *, published: bool) -> None:
    """Methods that are curves have a marker, the others the dashes of their horizontal line."""
    handles = []
    for method, look in styles.items():
        marker = look.marker if method in curves else ""
        handle = Line2D(
            [], [], color=look.color, marker=marker or "None", markersize=4.5, linewidth=1.8, label=look.label
        )
        style.dash(handle, look.dashes if method in curves else look.dashes or _ONLINE_DASHES)
        handles.append(handle)
    if published:
        handles.append(Line2D([], [], **style.PUBLISHED, label=OFFLINE))
    columns = style.legend_columns([str(handle.get_label()) for handle in handles])
    figure.legend(handles=handles, loc="outside upper left", ncols=columns, columnspacing=1.4, handlelength=2.2)
