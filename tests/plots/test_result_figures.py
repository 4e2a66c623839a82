"""Figures of the returns: label curve, method comparison, performance profiles, probabilities of improvement, online curves."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest
from matplotlib.figure import Figure

from lamflow.evaluation.published import OFFLINE, ONLINE
from lamflow.plots.label_curve import draw_label_curve, label_positions, readable_ticks
from lamflow.plots.method_comparison import draw_method_comparison
from lamflow.plots.online_curves import draw_online_curves
from lamflow.plots.performance_profile import draw_performance_profile
from lamflow.plots.probability_of_improvement import draw_probability_of_improvement
from lamflow.plots.return_curves import step_text
from lamflow.plots.style import NOTHING_NORMALISED

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


def published(*envs: str) -> pd.DataFrame:
    rows = [(env, OFFLINE, labels, value) for env in envs for labels, value in (("16", 0.2), ("64", 0.3), ("128", 0.4))]
    rows += [(env, method, "online", 0.8) for env in envs for method in ONLINE.values()]
    return pd.DataFrame(rows, columns=["env", "method", "labels", "normalized"])


def hollow(figure: Figure) -> list[list[float]]:
    """Heights of the hollow markers in each panel."""
    return [
        sorted(float(y) for line in panel.lines if line.get_markerfacecolor() == "none" for y in line.get_ydata())
        for panel in figure.axes
    ]


def test_published_means_stand_at_budgets_that_we_have_and_in_all_only_when_each_environment_has_them(
    aggregate: pd.DataFrame,
) -> None:
    envs = ("xland-doorkey-6x6", "xland-r1-9x9")
    assert hollow(draw_label_curve(aggregate, published=published(*envs))) == [[0.2, 0.3]] * 3
    assert hollow(draw_label_curve(aggregate, published=published(envs[1], "procgen-maze"))) == [[], [0.2, 0.3], []]
    assert hollow(draw_label_curve(aggregate, published=published(*envs), statistic="iqm")) == [[], [], []]


def test_published_means_are_in_the_legend_only_where_they_are_drawn(
    aggregate: pd.DataFrame, svg_texts: SvgTexts
) -> None:
    assert OFFLINE in svg_texts(draw_label_curve(aggregate, published=published("xland-r1-9x9")))
    assert OFFLINE not in svg_texts(draw_label_curve(aggregate, published=published("procgen-maze")))


def with_online(aggregate: pd.DataFrame) -> pd.DataFrame:
    rows = aggregate[aggregate["method"] == "oracle_bc"]
    return pd.concat([aggregate, rows.assign(method="rl", labels="online", mean=0.85)])


def test_online_methods_are_horizontal_lines_without_a_tick(aggregate: pd.DataFrame, svg_texts: SvgTexts) -> None:
    figure = draw_label_curve(with_online(aggregate))
    heights = [line.get_ydata()[0] for line in figure.axes[0].lines if len(set(line.get_ydata())) == 1]
    assert 0.85 in heights
    texts = svg_texts(figure)
    assert "rl" in texts and "online" not in texts


def test_online_methods_stand_below_in_the_comparison(aggregate: pd.DataFrame) -> None:
    figure = draw_method_comparison(with_online(aggregate), labels="64")
    names = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert names == ["LAPO codes", "LAPO", "BC", "oracle BC (all labels)", "rl", "random"]


def test_profiles_have_a_line_a_method_and_a_panel_an_environment(profile: pd.DataFrame, svg_texts: SvgTexts) -> None:
    figure = draw_performance_profile(profile)
    assert [sum(len(line.get_xdata()) == 21 for line in panel.lines) for panel in figure.axes] == [4, 4, 4]
    texts = svg_texts(figure)
    assert {"LAPO", "BC", "random", "rl", "with 64 labels", "all environments", "fraction of agents above τ"} <= set(
        texts
    )


def test_improvement_has_a_column_a_baseline_and_a_row_an_environment(
    improvement: pd.DataFrame, svg_texts: SvgTexts
) -> None:
    figure = draw_probability_of_improvement(improvement, labels="64", baselines=["bc", "lapo", "vpt"])
    assert len(figure.axes) == 2 * 3
    texts = svg_texts(figure)
    assert {"P(method beats BC)", "P(method beats LAPO)", "0.95", "0.60", "the baseline", "not compared"} <= set(texts)


def test_methods_of_improvement_stand_in_the_order_of_the_last_row(improvement: pd.DataFrame) -> None:
    figure = draw_probability_of_improvement(improvement, labels="64", baselines=["bc"])
    orders = [[tick.get_text() for tick in panel.get_yticklabels()] for panel in figure.axes]
    assert orders == [["LAPO codes", "LAPO", "VPT"], ["LAPO codes", "LAPO"]]


def test_improvement_without_the_budget_or_a_baseline_is_refused(improvement: pd.DataFrame) -> None:
    for labels, baseline in (("128", "bc"), ("64", "nobody")):
        with pytest.raises(ValueError, match=f"no method was compared with {baseline} at {labels} labels"):
            draw_probability_of_improvement(improvement, labels=labels, baselines=[baseline])


@pytest.fixture
def curves() -> pd.DataFrame:
    rows = [
        (env, method, steps, value, value - 0.1, value + 0.1)
        for env in ("procgen-maze", "procgen-heist", "all")
        for method in ("rl", "ppo")
        for steps, value in ((0, 0.0), (500_000, 0.5), (1_000_000, 0.9))
    ]
    return pd.DataFrame(rows, columns=["env", "method", "env_steps", "mean", "low", "high"])


def test_online_curves_have_published_values_at_the_right_edge(curves: pd.DataFrame, svg_texts: SvgTexts) -> None:
    assert hollow(draw_online_curves(curves)) == [[], [], []]
    assert hollow(draw_online_curves(curves, published=published("procgen-maze"))) == [[], [0.8] * 3, []]
    figure = draw_online_curves(curves, published=published("procgen-maze", "procgen-heist"))
    assert hollow(figure) == [[0.8] * 3] * 3
    texts = svg_texts(figure)
    assert {"rl", "ppo", "0", "800k", "environment steps", "PPO from scratch (digitised, 4M steps)"} <= set(texts)


def test_online_curves_without_a_point_say_so(curves: pd.DataFrame, svg_texts: SvgTexts) -> None:
    assert svg_texts(draw_online_curves(curves.iloc[:0])) == ["no episode has ended in any of the runs"]


def test_figures_of_returns_that_nobody_could_normalise_say_so(
    aggregate: pd.DataFrame, profile: pd.DataFrame, improvement: pd.DataFrame, svg_texts: SvgTexts
) -> None:
    for figure in (
        draw_label_curve(aggregate.iloc[:0]),
        draw_method_comparison(aggregate.iloc[:0], labels="64"),
        draw_performance_profile(profile.iloc[:0]),
        draw_probability_of_improvement(improvement.iloc[:0], labels="64", baselines=["bc"]),
    ):
        assert " ".join(svg_texts(figure)) == NOTHING_NORMALISED.replace("\n", " ")


@pytest.mark.parametrize(("steps", "text"), [(0, "0"), (500, "500"), (20_000, "20k"), (2_500_000, "2.5M")])
def test_steps_are_written_short(steps: int, text: str) -> None:
    assert step_text(steps) == text
