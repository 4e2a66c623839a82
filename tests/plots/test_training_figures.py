"""Learning curves."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest
from matplotlib.figure import Figure

from lamflow.plots.curves import mean_over_seeds
from lamflow.plots.lam_curves import draw_lam_curves
from lamflow.plots.policy_curves import draw_policy_curves

SvgTexts = Callable[[Figure], list[str]]
MakeMetrics = Callable[..., pd.DataFrame]
LAM_METRICS = (
    ("train", "loss/reconstruction"),
    ("validation", "fdm/loss"),
    ("validation", "fdm/loss_shuffled_latent"),
    ("validation", "fdm/loss_copy_last_frame"),
    ("validation", "fdm/changed_cell_accuracy"),
    ("validation", "probe/mlp_accuracy_effectful"),
    ("validation", "probe/linear_accuracy_effectful"),
)
CODEBOOK = (("validation", "codebook/perplexity"),)


def test_lam_curves_show_losses_references_probes_and_codebook(metrics: MakeMetrics, svg_texts: SvgTexts) -> None:
    runs = [metrics((*LAM_METRICS, *CODEBOOK), seed, lam="lapo") for seed in range(3)]
    runs += [metrics(LAM_METRICS, seed, lam="continuous") for seed in range(3)]
    texts = svg_texts(draw_lam_curves(pd.concat(runs)))
    expected = {"lapo", "continuous", "shuffled latent", "copy last frame", "codebook perplexity", "training step"}
    assert expected <= set(texts)
    assert "none logged" in texts
    assert any(text.startswith("action probe") for text in texts)


def test_lam_curves_over_pixels_name_their_unit_and_show_the_change_explained(
    metrics: MakeMetrics, svg_texts: SvgTexts
) -> None:
    names = (*LAM_METRICS[:4], ("validation", "probe/mlp_accuracy_classes"), ("validation", "fdm/change_explained"))
    texts = svg_texts(draw_lam_curves(metrics(names, 0, lam="lapo")))
    assert "loss (squared error)" in texts and "loss (nats a frame)" not in texts
    assert {"MLP, classes", "frames explained"} <= set(texts)
    assert "predicted" not in texts, "cells are of grids"


def test_lam_curves_draw_a_line_a_seed_and_their_mean(metrics: MakeMetrics) -> None:
    runs = [metrics((("train", "loss/reconstruction"),), seed, lam="lapo") for seed in range(3)]
    lines = draw_lam_curves(pd.concat(runs)).axes[0].lines
    assert len(lines) == 4
    assert lines[3].get_linewidth() > lines[0].get_linewidth()
    expected = sum(line.get_ydata() for line in lines[:3]) / 3
    assert lines[3].get_ydata() == pytest.approx(expected)


@pytest.mark.slow
def test_many_lams_take_further_rows_and_nothing_is_cut_off(metrics: MakeMetrics, svg_texts: SvgTexts) -> None:
    names = [f"lam_{index}" for index in range(6)]
    table = pd.concat([metrics((*LAM_METRICS, *CODEBOOK), 0, lam=name) for name in names])
    table["value"] = table["value"].clip(upper=1)
    table.loc[table["name"] == "fdm/changed_cell_accuracy", "value"] = -0.5
    figure = draw_lam_curves(table)
    assert set(names) <= set(svg_texts(figure))
    shown = [panel for panel in figure.axes if panel.lines]
    assert len(shown) == 3 * len(names)
    for panel in shown:
        low, high = panel.get_ylim()
        assert all(low <= value <= high for line in panel.lines for value in line.get_ydata())


def test_a_single_value_is_a_point_and_a_negative_loss_is_seen(metrics: MakeMetrics) -> None:
    table = metrics((("train", "loss/total"), ("validation", "loss/total")), 0, method="lapo_mixture")
    table = table[(table["split"] == "train") | (table["step"] == 1000)].assign(value=-table["value"])
    (panel,) = draw_policy_curves(table).axes
    train, validation = panel.lines
    assert (train.get_marker(), validation.get_marker()) == ("None", "o")
    assert panel.get_ylim()[0] < train.get_ydata().min()


def test_mean_takes_only_steps_that_all_seeds_have() -> None:
    runs = {0: pd.Series([1.0, 2.0], index=[0, 10]), 1: pd.Series([3.0, 4.0, 5.0], index=[0, 10, 20])}
    assert mean_over_seeds(runs).to_dict() == {0: 2.0, 10: 3.0}


def test_values_that_are_not_finite_are_left_out(metrics: MakeMetrics) -> None:
    table = metrics((("train", "loss/reconstruction"),), 0, lam="lapo")
    table.loc[0, "value"] = float("inf")
    assert len(draw_lam_curves(table).axes[0].lines[0].get_xdata()) == 4


def test_lam_curves_need_a_reconstruction_loss(metrics: MakeMetrics) -> None:
    with pytest.raises(ValueError, match="no loss/reconstruction"):
        draw_lam_curves(metrics((("train", "loss/total"),), 0, lam="lapo"))


@pytest.mark.slow
def test_policy_curves_have_a_panel_a_method(metrics: MakeMetrics, svg_texts: SvgTexts) -> None:
    names = (("train", "loss/total"), ("validation", "loss/total"))
    runs = [metrics(names, seed, method=method) for method in ("lapo", "bc", "oracle_bc") for seed in range(2)]
    figure = draw_policy_curves(pd.concat(runs))
    assert {"LAPO", "BC", "oracle BC (all labels)", "train", "validation", "loss"} <= set(svg_texts(figure))
    assert len(figure.axes) == 3


def test_policy_curves_need_the_total_loss(metrics: MakeMetrics) -> None:
    with pytest.raises(ValueError, match="no loss/total"):
        draw_policy_curves(metrics((("train", "loss/reconstruction"),), 0, method="bc"))
