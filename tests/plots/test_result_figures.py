"""Figures of the returns: label curve and method comparison."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest
from matplotlib.figure import Figure

from lamflow.plots.label_curve import draw_label_curve, label_positions, readable_ticks
from lamflow.plots.method_comparison import draw_method_comparison

SvgTexts = Callable[[Figure], list[str]]


def test_label_curve_names_methods_environments_and_budgets(aggregate: pd.DataFrame, svg_texts: SvgTexts) -> None:
    texts = svg_texts(draw_label_curve(aggregate))
    expected = {"LAPO", "LAPO codes", "BC", "oracle BC (all labels)", "random", "xland-doorkey-6x6", "all environments"}
    assert expected <= set(texts)
    assert {"16", "64", "500 traj.", "action labels", "normalised return (mean)"} <= set(texts)


@pytest.mark.parametrize(("statistic", "axis"), [("iqm", "normalised return (IQM)"), ("success", "success rate")])
def test_label_curve_of_another_statistic(
    aggregate: pd.DataFrame, svg_texts: SvgTexts, statistic: str, axis: str
) -> None:
    assert axis in svg_texts(draw_label_curve(aggregate, statistic=statistic))


def test_label_curve_draws_each_method_at_its_values(aggregate: pd.DataFrame) -> None:
    figure = draw_label_curve(aggregate[aggregate["env"] == "all"])
    curves = [line for line in figure.axes[0].lines if line.get_marker() not in ("None", "")]
    assert sorted(line.get_ydata()[1] for line in curves) == [0.1, 0.4, 0.9]
    assert curves[0].get_xdata().tolist() == [4, 6, 8]


def test_trajectories_stand_at_their_number_of_transitions_where_it_is_known() -> None:
    labels = ["16", "64", "500 trajectories"]
    assert label_positions(labels, None) == {"16": 4, "64": 6, "500 trajectories": 8}
    assert label_positions(labels, 4096 / 500)["500 trajectories"] == pytest.approx(12)


def test_ticks_that_would_touch_have_no_text() -> None:
    positions = label_positions([str(2**power) for power in range(4, 14)] + ["500 trajectories"], 10.0)
    assert all(readable_ticks(positions, 450).values())
    narrow = readable_ticks(positions, 90)
    shown = [name for name, text in narrow.items() if text]
    assert shown[0] == "16" and shown[-1] == "500 trajectories"
    assert 3 <= len(shown) < 6


def test_label_curve_without_any_budget_is_refused(aggregate: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="no method with a label budget"):
        draw_label_curve(aggregate[aggregate["labels"].isin(["all", "0"])])
    with pytest.raises(ValueError, match="statistic 'median': expected one of mean, iqm, success"):
        draw_label_curve(aggregate, statistic="median")


def test_method_comparison_shows_values_and_references(aggregate: pd.DataFrame, svg_texts: SvgTexts) -> None:
    texts = svg_texts(draw_method_comparison(aggregate, labels="64"))
    assert {"with 64 labels", "LAPO codes", "BC", "random", "0.90", "0.10", "0.95", "success rate"} <= set(texts)


def test_method_comparison_orders_methods_alike_in_all_rows(aggregate: pd.DataFrame) -> None:
    figure = draw_method_comparison(aggregate, labels="64")
    orders = [[tick.get_text() for tick in panel.get_yticklabels()] for panel in figure.axes[::2]]
    assert orders == [["LAPO codes", "LAPO", "BC", "oracle BC (all labels)", "random"]] * 3


def test_method_comparison_at_an_unknown_budget_names_what_there_is(aggregate: pd.DataFrame) -> None:
    with pytest.raises(
        ValueError, match="no method was given 128 labels; the table has 0, 16, 500 trajectories, 64, all"
    ):
        draw_method_comparison(aggregate, labels="128")
