"""What all figures share."""

from __future__ import annotations

import itertools
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from lamflow.plots import style


def test_a_method_looks_the_same_whatever_else_is_drawn() -> None:
    alone = style.method_styles(["bc"])["bc"]
    assert style.method_styles(["random", "bc", "lapo", "aaa"])["bc"] == alone
    unknown = style.method_styles(["clam"])["clam"]
    assert style.method_styles(["aaa", "bc", "clam"])["clam"] == unknown


def test_methods_differ_in_colour_and_marker() -> None:
    looks = list(style.method_styles(["lapo", "bc", "vpt", *(f"variant_{index}" for index in range(6))]).values())
    for one, other in itertools.combinations(looks, 2):
        assert one.marker != other.marker
        assert np.abs(np.subtract(to_rgb(one.color), to_rgb(other.color))).sum() > 0.2


def test_of_many_methods_no_two_look_alike() -> None:
    looks = style.method_styles(["lapo_rl", "lapo_rl_sl", "ppo_scratch", *(f"variant_{index}" for index in range(24))])
    assert len({(look.color, look.marker) for look in looks.values()}) == len(looks)
    assert len({(look.color, look.dashes) for look in looks.values()}) == len(looks), "figures of lines have no markers"


@pytest.mark.parametrize("longest", [3, 12, 30, 90])
def test_a_legends_columns_fit_the_width(longest: int) -> None:
    labels = [*("a" * (1 + index % longest) for index in range(20)), "a" * longest]
    columns = style.legend_columns(labels)
    rows = -(-len(labels) // columns)
    widths = [max(map(len, labels[start : start + rows])) + 7 for start in range(0, len(labels), rows)]
    assert columns == 1 or sum(widths) <= 84
    assert style.legend_height(labels) == pytest.approx(0.19 * (rows - 2))


def test_variants_are_named_as_what_they_are_variants_of() -> None:
    assert [look.label for look in style.method_styles(["lapo_flow", "my_bc", "other"]).values()] == [
        "LAPO flow",
        "my BC",
        "other",
    ]


def test_references_come_last() -> None:
    assert list(style.method_styles(["random", "oracle_bc", "bc", "vpt"])) == ["bc", "vpt", "oracle_bc", "random"]


@pytest.mark.parametrize(
    ("count", "shape"), [(1, (1, 1)), (2, (1, 2)), (3, (1, 3)), (4, (2, 2)), (7, (3, 3)), (16, (4, 4))]
)
def test_panel_grids(count: int, shape: tuple[int, int]) -> None:
    assert style.panel_grid(count) == shape


def test_equal_figures_give_equal_files_with_text_kept_as_text(tmp_path: Path) -> None:
    paths = [tmp_path / "a.svg", tmp_path / "b.svg"]
    for path in paths:
        with style.in_style():
            figure = style.new_figure(2)
            figure.subplots().set_title("findable words")
        style.save_figure(figure, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert "findable words" in paths[0].read_text()
    assert sorted(tmp_path.iterdir()) == paths


def test_saving_leaves_the_global_style_alone(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    with style.in_style():
        figure = style.new_figure(2)
    style.save_figure(figure, tmp_path / "a.png")
    assert dict(matplotlib.rcParams) == before


def test_other_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.pdf: figures are written as \.svg or \.png"):
        style.save_figure(style.new_figure(2), tmp_path / "a.pdf")
