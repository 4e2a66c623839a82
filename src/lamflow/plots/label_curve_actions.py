"""How well recorded actions are answered, against the number of action labels: the label curve where nobody plays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lamflow.data.label_budgets import REFERENCE_LABELS, LabelBudget
from lamflow.plots import style
from lamflow.plots.label_curve import label_positions, readable_ticks

MEASURES = {"accuracy": "right answers (accuracy)", "r2": "variance explained (R²)"}
NO_ACTIONS = "No action of the held-out recordings is known:\nthere is nothing to compare answers with."
DECODER_DASHES = (3.0, 1.5)
_LOWEST_R2 = -0.5


def draw_label_curve_actions(
    aggregate: pd.DataFrame, *, envs: Sequence[str], trajectory_lengths: Mapping[str, float] | None = None
) -> Figure:
    """One panel per environment of ``envs``; in it per method a curve of its agents and, dashed with hollow markers, one of its decoders,
    with 95% intervals as bands.

    ``aggregate``: columns of ``summary/action_aggregate.csv``. ``trajectory_lengths``: see ``label_curve.draw_label_curve``. The grey line
    is the best answer that is always the same. A panel without a row says why.
    """
    if aggregate.empty:
        return style.figure_of_text(NO_ACTIONS)
    styles = style.method_styles(aggregate["method"])
    rows, columns = style.panel_grid(len(envs))
    width = (72 * style.WIDTH - 35) / columns - 15
    with style.in_style():
        handles = _legend(aggregate, styles)
        extra = style.legend_height([str(handle.get_label()) for handle in handles])
        figure = style.new_figure(0.75 + extra + {1: 3.4, 2: 3.0, 3: 2.7}.get(columns, 2.0) * rows)
        panels: list[Axes] = list(figure.subplots(rows, columns, squeeze=False).flat)
        for panel, env in zip(panels, envs, strict=False):
            table = aggregate[aggregate["env"] == env]
            style.set_title(panel, env, columns)
            if table.empty:
                panel.text(0.5, 0.5, NO_ACTIONS, ha="center", va="center", color=style.MUTED, transform=panel.transAxes)
                panel.set_axis_off()
                continue
            _draw_panel(panel, table, styles, (trajectory_lengths or {}).get(env), width)
        style.hide_unused(panels, len(envs))
        figure.supxlabel("action labels", fontsize=9)
        names = [str(handle.get_label()) for handle in handles]
        figure.legend(
            handles=handles,
            loc="outside upper left",
            ncols=style.legend_columns(names),
            columnspacing=1.4,
            handlelength=2.6,
        )
    return figure


def _draw_panel(
    panel: Axes,
    table: pd.DataFrame,
    styles: Mapping[str, style.MethodStyle],
    trajectory_length: float | None,
    width: float,
) -> None:
    budgets = sorted((name for name in table["labels"].unique() if name not in REFERENCE_LABELS), key=LabelBudget.parse)
    positions = label_positions(budgets, trajectory_length)
    constant = float(table["constant"].iloc[0])
    panel.axhline(constant, color=style.FAINT, linewidth=1.2, zorder=1)
    panel.annotate(
        "always the same answer",
        (0, constant),
        (2, 2),
        ("axes fraction", "data"),
        "offset points",
        fontsize=7.5,
        color=style.MUTED,
    )
    for method, look in styles.items():
        for what in ("agent", "decoder"):
            _draw_method(panel, table[(table["method"] == method) & (table["what"] == what)], look, what, positions)
    ticks = readable_ticks(positions, width)
    panel.set_xticks([positions[name] for name in ticks], list(ticks.values()))
    panel.grid(axis="x", visible=False)
    measure = str(table["measure"].iloc[0])
    panel.set_ylabel(MEASURES[measure])
    if measure == "r2" and panel.get_ylim()[0] < _LOWEST_R2:
        panel.set_ylim(bottom=_LOWEST_R2)


def _draw_method(
    panel: Axes, rows: pd.DataFrame, look: style.MethodStyle, what: str, positions: Mapping[str, float]
) -> None:
    references = rows[rows["labels"].isin(REFERENCE_LABELS)]
    for value, low, high in references[["score", "low", "high"]].to_numpy(float):
        panel.axhspan(low, high, color=look.color, alpha=0.13, linewidth=0)
        panel.axhline(value, color=look.color, linewidth=1.4, dashes=look.dashes or (4, 2))
    curve = rows.drop(references.index)
    if curve.empty:
        return
    curve = curve.assign(x=curve["labels"].map(positions)).sort_values("x")
    x, value, low, high = curve[["x", "score", "low", "high"]].to_numpy(float).T
    decodes = what == "decoder"
    panel.fill_between(x, low, high, color=look.color, alpha=0.1 if decodes else 0.18, linewidth=0)
    (line,) = panel.plot(x, value, color=look.color, marker=look.marker, markersize=4.5, linewidth=1.8, zorder=3)
    if decodes:
        line.set_markerfacecolor("white")
    style.dash(line, DECODER_DASHES if decodes else look.dashes)


def _legend(aggregate: pd.DataFrame, styles: Mapping[str, style.MethodStyle]) -> list[Line2D]:
    """A line per method, and one per kind of answer that it has."""
    handles = []
    for method, look in styles.items():
        rows = aggregate[aggregate["method"] == method]
        is_curve = not set(rows["labels"]) <= set(REFERENCE_LABELS)
        for what in [name for name in ("agent", "decoder") if name in set(rows["what"])]:
            decodes = what == "decoder"
            handle = Line2D(
                [],
                [],
                color=look.color,
                marker=look.marker if is_curve else "None",
                markersize=4.5,
                linewidth=1.8,
                markerfacecolor="white" if decodes else look.color,
                label=f"{look.label}, decoder" if decodes else look.label,
            )
            style.dash(handle, DECODER_DASHES if decodes else look.dashes or (() if is_curve else (4, 2)))
            handles.append(handle)
    return handles
