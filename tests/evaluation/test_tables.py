"""The printed table of returns."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from lamflow.evaluation import tables
from lamflow.evaluation.statistics import Estimate
from lamflow.evaluation.summaries import group_agents
from lamflow.evaluation.tables import ReturnsTable, TableRow, returns_table, to_csv, to_latex, to_markdown

REFERENCES = {"a_maze": (2.0, 12.0), "b": (0.0, 1.0)}


def episodes(skills: dict[tuple[str, str, str], float]) -> pd.DataFrame:
    """Normalised returns by env, method and labels: three seeds a hundredth apart with two episodes a tenth apart."""
    rows = [
        (env, method, labels, seed, 0, episode, skill + 0.01 * seed + 0.1 * episode - 0.06)
        for (env, method, labels), skill in skills.items()
        for seed in range(3)
        for episode in range(2)
    ]
    table = pd.DataFrame(rows, columns=["env", "method", "labels", "seed", "label_draw", "episode", "normalized"])
    return table.assign(success=True, policy_episodes="all")


def table_of(skills: dict[tuple[str, str, str], float]) -> ReturnsTable:
    return returns_table(group_agents(episodes(skills), samples=100), REFERENCES, labels="64")


SKILLS = {
    ("a_maze", "lapo", "64"): 0.5,
    ("a_maze", "lapo", "16"): 0.9,
    ("a_maze", "bc", "64"): 0.3,
    ("a_maze", "near", "64"): 0.49,
    ("a_maze", "random", "0"): 0.0,
    ("b", "lapo", "64"): 0.7,
    ("b", "bc", "64"): 0.1,
    ("b", "random", "0"): 0.0,
    ("a_maze", "rl", "online"): 1.0,
    ("b", "rl", "online"): 1.0,
}


def test_methods_with_the_budget_come_first_and_online_ones_last() -> None:
    assert table_of(SKILLS).methods == {"bc": "64", "lapo": "64", "near": "64", "random": "0", "rl": "online"}


def test_rows_are_environments_then_mean_and_iqm_of_what_ran_on_all() -> None:
    table = table_of(SKILLS)
    assert [(row.quantity, row.name) for row in table.rows] == [
        ("return", "a_maze"),
        ("return", "b"),
        ("normalized_return", "a_maze"),
        ("normalized_return", "b"),
        ("normalized_return", "mean"),
        ("normalized_return", "IQM"),
    ]
    assert table.rows[4].cells["lapo"].value == pytest.approx(0.6)
    assert "near" in table.rows[0].cells and "near" not in table.rows[4].cells


def test_raw_returns_are_normalised_ones_taken_back_with_their_intervals() -> None:
    table = table_of(SKILLS)
    raw, normalized = table.rows[0].cells["lapo"], table.rows[2].cells["lapo"]
    for ours, theirs in zip(
        (raw.value, raw.low, raw.high), (normalized.value, normalized.low, normalized.high), strict=True
    ):
        assert ours == pytest.approx(2 + 10 * theirs)
    assert raw.value == pytest.approx(7.0)


def test_the_best_of_the_budget_and_those_that_reach_it_are_bold() -> None:
    assert table_of(SKILLS).rows[0].best == {"lapo", "near"}
    assert table_of(SKILLS).rows[1].best == {"lapo"}


def test_one_environment_is_its_own_mean() -> None:
    table = table_of({key: value for key, value in SKILLS.items() if key[0] == "b"})
    assert [row.name for row in table.rows] == ["b", "b", "mean", "IQM"]
    assert table.rows[1].cells["lapo"] == table.rows[2].cells["lapo"]


CELLS = {"la_po": Estimate(0.5, 0.25, 0.751), "rl": Estimate(-0.001, -0.5, 1.0)}
METHODS = {"la_po": "500 trajectories", "rl": "online", "none": "0"}


def small_table(*envs: str) -> ReturnsTable:
    """Three methods, one of them without a value, on ``envs``."""
    names = [*(("return", env) for env in envs), ("normalized_return", "mean")]
    return ReturnsTable("500 trajectories", METHODS, [TableRow(*row, CELLS, frozenset({"la_po"})) for row in names])


@pytest.fixture
def small() -> ReturnsTable:
    return small_table("b")


def test_csv_has_three_columns_a_method(small: ReturnsTable) -> None:
    assert to_csv(small).splitlines() == [
        "quantity,row,split,la_po,la_po_low,la_po_high,rl,rl_low,rl_high,none,none_low,none_high",
        "return,b,test,0.5,0.25,0.751,-0.001,-0.5,1,,,",
        "normalized_return,mean,test,0.5,0.25,0.751,-0.001,-0.5,1,,,",
    ]


def test_markdown_marks_budgets_and_the_best_with_methods_down_where_they_are_many(small: ReturnsTable) -> None:
    lines = to_markdown(small).splitlines()
    assert "500 trajectories, but for methods marked otherwise." in lines[0]
    assert lines[2:7] == [
        "| Return | b |",
        "|---|---:|",
        "| la_po | **0.50** [0.25, 0.75] |",
        "| rl (online) | 0.00 [-0.50, 1.00] |",
        "| none (no labels) |  |",
    ]
    assert to_markdown(small_table("b", "c", "d")).splitlines()[2:5] == [
        "| Return | la_po | rl (online) | none (no labels) |",
        "|---|---:|---:|---:|",
        "| b | **0.50** [0.25, 0.75] | 0.00 [-0.50, 1.00] |  |",
    ]


@pytest.mark.parametrize(
    ("envs", "line"),
    [
        ("b", r"rl (online) & 0.00 {\scriptsize [$-$0.50, 1.00]} \\"),
        ("bcd", r"b & \textbf{0.50} {\scriptsize [0.25, 0.75]} & 0.00 {\scriptsize [$-$0.50, 1.00]} & -- \\"),
    ],
)
def test_latex_is_balanced_escaped_and_as_wide_in_every_row(envs: str, line: str) -> None:
    text = to_latex(small_table(*envs))
    assert text.count("{") == text.count("}")
    assert re.findall(r"\\(begin|end)\{(\w+)\}", text) == [
        ("begin", "table"), ("begin", "tabular"), ("end", "tabular"), ("end", "table"),
    ]  # fmt: skip
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len({line.count("&") for line in rows}) == 1
    assert not re.search(r"(?<!\\)[_#]", text.split("\n", 1)[1])
    assert line in rows
    for rule in (r"\toprule", r"\bottomrule"):
        assert text.count(rule) == 1


def test_what_is_printed_alike_is_bold_alike() -> None:
    cells = {"one": Estimate(0.9985, 0.99, 1.0), "two": Estimate(0.98, 0.97, 0.9966), "three": Estimate(0.9, 0.8, 0.99)}
    assert tables._best(cells, ["one", "two", "three"]) == {"one", "two"}
