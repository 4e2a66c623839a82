"""The label curve where nobody plays: agents and decoders told apart, and panels that say why they are empty."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest
from matplotlib.figure import Figure

from lamflow.evaluation.columns import ACTION_AGGREGATE_COLUMNS
from lamflow.plots.label_curve_actions import NO_ACTIONS, draw_label_curve_actions

SvgTexts = Callable[[Figure], list[str]]


@pytest.fixture
def scores() -> pd.DataFrame:
    rows = []
    for env, measure in (("clips", "accuracy"), ("arm", "r2")):
        for method, what, value in (("lapo", "agent", 0.5), ("lapo", "decoder", 0.9), ("bc", "agent", 0.4)):
            for labels, more in (("16", 0.0), ("64", 0.05), ("5 trajectories", 0.08)):
                middle = value + more
                rows.append(
                    (env, method, labels, "all", what, measure, 2, 3, 9, 400, middle, middle - 0.1, middle + 0.1, 0.2)
                )
        rows.append((env, "random", "0", "", "agent", measure, 2, 1, 9, 400, 0.1, 0.05, 0.15, 0.2))
    return pd.DataFrame(rows, columns=list(ACTION_AGGREGATE_COLUMNS))


def test_each_environment_has_a_panel_and_each_answer_a_line(scores: pd.DataFrame, svg_texts: SvgTexts) -> None:
    figure = draw_label_curve_actions(scores, envs=["clips", "arm"])
    expected = {
        "LAPO",
        "LAPO, decoder",
        "BC",
        "random",
        "clips",
        "arm",
        "16",
        "64",
        "5 traj.",
        "always the same answer",
    }
    assert expected <= set(svg_texts(figure))
    assert [panel.get_ylabel() for panel in figure.axes] == ["right answers (accuracy)", "variance explained (R²)"]


def test_decoders_are_dashed_and_hollow(scores: pd.DataFrame) -> None:
    panel = draw_label_curve_actions(scores, envs=["clips"]).axes[0]
    curves = {line.get_ydata()[0]: line for line in panel.lines if line.get_marker() not in ("None", "")}
    assert sorted(curves) == [0.4, 0.5, 0.9]
    assert curves[0.9].get_markerfacecolor() == "white" != curves[0.5].get_markerfacecolor()
    assert curves[0.9].is_dashed() and not curves[0.5].is_dashed()
    assert curves[0.9].get_color() == curves[0.5].get_color()


def test_a_panel_without_known_actions_says_so(scores: pd.DataFrame, svg_texts: SvgTexts) -> None:
    first = NO_ACTIONS.splitlines()[0]
    assert first in svg_texts(draw_label_curve_actions(scores, envs=["clips", "other"]))
    assert first in svg_texts(draw_label_curve_actions(scores.iloc[:0], envs=["other"]))
