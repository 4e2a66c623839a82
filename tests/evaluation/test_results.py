"""Reading result tables: every way a file can be wrong has its message."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lamflow.data.label_budgets import LabelBudget
from lamflow.evaluation.columns import CURVE_COLUMNS
from lamflow.evaluation.metrics import read_metrics, read_runs
from lamflow.evaluation.online import curve_estimates, read_online_curves
from lamflow.evaluation.published import read_published
from lamflow.evaluation.results import (
    read_agent_returns,
    read_aggregate,
    read_improvement,
    read_profile,
    read_returns,
)
from lamflow.stages.summarise import summarise

PUBLISHED = Path(__file__).parents[2] / "config" / "published" / "lapo_returns.csv"
WriteReturns = Callable[..., Path]


def test_label_budgets_sort_by_number_then_trajectories_then_all_then_online() -> None:
    budgets = ["online", "all", "1024", "500 trajectories", "16", "0", "50 trajectories"]
    expected = ["0", "16", "1024", "50 trajectories", "500 trajectories", "all", "online"]
    assert sorted(budgets, key=LabelBudget.parse) == expected


@pytest.mark.parametrize("budget", ["", "many", "-3", "1.5", "3 trajectory", "Online"])
def test_label_budget_of_another_form_is_refused(budget: str) -> None:
    with pytest.raises(ValueError, match="label budget"):
        LabelBudget.parse(budget)


def test_returns_are_read_typed(write_returns: WriteReturns) -> None:
    table = read_returns([write_returns(seed=0), write_returns(seed=1)])
    assert len(table) == 2 * 2 * 2 * 10
    assert table["success"].dtype == bool
    assert table["labels"].unique().tolist() == ["16", "64"]
    assert table["seed"].tolist() == [0] * 40 + [1] * 40


@pytest.mark.parametrize("spelling", [("True", "False"), ("true", "false"), ("1", "0"), ("1.0", "0.0")])
def test_success_may_be_spelled_in_several_ways(write_returns: WriteReturns, spelling: tuple[str, str]) -> None:
    path = write_returns()
    expected = read_agent_returns(path)["success"].tolist()
    path.write_text(path.read_text().replace("True", spelling[0]).replace("False", spelling[1]))
    assert read_agent_returns(path)["success"].tolist() == expected


def edit(path: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    change(pd.read_csv(path, dtype=str)).to_csv(path, index=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop(columns="return"), r"missing column\(s\): return;"),
        (lambda table: table.assign(extra="1"), r"unknown column\(s\): extra;"),
        (lambda table: table.iloc[:0], "no rows"),
        (lambda table: table.assign(env=["a"] + ["b"] * (len(table) - 1)), "column env holds a, b; one file holds"),
        (lambda table: table.assign(length="x"), "line 2, column length: found 'x', expected an integer"),
        (lambda table: table.assign(seed="0.5"), "column seed: found '0.5', expected an integer"),
        (
            lambda table: table.assign(**{"return": "nan"}),
            "line 2, column return: found 'nan', expected a finite number",
        ),
        (lambda table: table.assign(return_expert=""), "column return_expert: found '', expected a finite number"),
        (lambda table: table.assign(success="maybe"), "column success: found 'maybe', expected True or False"),
        (lambda table: table.assign(labels="many"), "column labels: label budget 'many'"),
        (lambda table: pd.concat([table, table.iloc[3:4]]), "labels 16, label draw 0: episode 3 is there twice"),
    ],
)
def test_a_malformed_file_is_named_with_what_is_wrong(
    write_returns: WriteReturns, change: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    path = write_returns()
    edit(path, change)
    with pytest.raises(ValueError, match=message) as error:
        read_agent_returns(path)
    assert str(path) in str(error.value)


def test_a_missing_or_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        read_agent_returns(tmp_path / "returns.csv")
    (tmp_path / "returns.csv").write_bytes(b"\xff\xfe\x00binary")
    with pytest.raises(ValueError, match=r"returns\.csv"):
        read_agent_returns(tmp_path / "returns.csv")


def test_the_same_result_from_two_files_is_refused(write_returns: WriteReturns, tmp_path: Path) -> None:
    first = write_returns()
    second = tmp_path / "copy.csv"
    second.write_text(first.read_text())
    with pytest.raises(ValueError, match=r"copy\.csv: holds xland-doorkey-6x6, lapo, seed 0, which .* holds as well"):
        read_returns([first, second])


def test_files_that_disagree_on_the_references_are_refused(write_returns: WriteReturns) -> None:
    paths = [write_returns(method=method) for method in ("lapo", "bc")]
    edit(paths[1], lambda table: table.assign(return_expert="0.7"))
    with pytest.raises(ValueError, match=r"bc.*return_expert of xland-doorkey-6x6 is 0\.7, but .*lapo.* has 0\.9"):
        read_returns(paths)


def test_metrics_keep_infinite_values_and_refuse_words(write_metrics: Callable[..., Path]) -> None:
    path = write_metrics("good", [(1, "train", "loss/total", 0.5), (2, "validation", "fdm/loss", float("inf"))])
    assert read_metrics(path)["value"].tolist() == [0.5, float("inf")]
    path.write_text(path.read_text().replace("0.5", "half"))
    with pytest.raises(ValueError, match="loss/total at step 1 is 'half', which is no number"):
        read_metrics(path)


def test_metrics_of_an_unknown_split_are_refused(write_metrics: Callable[..., Path]) -> None:
    with pytest.raises(ValueError, match="column split holds test; expected train or validation"):
        read_metrics(write_metrics("bad", [(1, "test", "loss/total", 0.5)]))


def test_runs_and_files_must_match(write_metrics: Callable[..., Path]) -> None:
    path = write_metrics("run", [(1, "train", "loss/total", 0.5)])
    with pytest.raises(ValueError, match="1 metrics files for 2 runs"):
        read_runs([path], [{"seed": 0}, {"seed": 1}])
    with pytest.raises(ValueError, match="listed twice"):
        read_runs([path, path], [{"seed": 0}, {"seed": 0}])


ABSURD = [
    ("length", "9223372036854775808", "an integer of at least 1"),
    ("length", "-5", "an integer of at least 1"),
    ("length", "0", "an integer of at least 1"),
    ("length", "9" * 4000, "an integer of at least 1"),
    ("length", "1e308", "an integer of at least 1"),
    ("seed", "-1", "an integer of at least 0"),
    ("episode", "-1", "an integer of at least 0"),
    ("level_seed", "-2", "an integer of at least -1"),
    ("return", "1e308", "a finite number of at most 1e\\+100 in size"),
    ("return", "-inf", "a finite number"),
    ("return", "", "a finite number"),
    ("return_expert", "1e999", "a finite number"),
    ("env", "Nowhere at all", "the name of an environment"),
    ("env", "", "the name of an environment"),
    ("labels", "²", "label budget '²'"),
    ("labels", "9" * 5000, "label budget"),
    ("success", "", "True or False"),
]


@pytest.mark.parametrize(("column", "cell", "message"), ABSURD, ids=[f"{c}-{v[:20]}" for c, v, _ in ABSURD])
def test_a_number_that_a_table_cannot_hold_is_refused_with_line_and_column(
    write_returns: WriteReturns, column: str, cell: str, message: str
) -> None:
    path = write_returns()
    edit(path, lambda table: table.assign(**{column: cell}))
    with pytest.raises(ValueError, match=rf"returns\.csv: line 2, column {column}: (?s:.*){message}"):
        read_agent_returns(path)


def test_the_largest_level_seed_is_read_exactly(write_returns: WriteReturns) -> None:
    path = write_returns()
    edit(path, lambda table: table.assign(level_seed=str(2**63 - 1)))
    assert set(read_agent_returns(path)["level_seed"]) == {2**63 - 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [*lines[:3], lines[3] + ",7", *lines[4:]], "line 4: found 15 cells, expected 14"),
        (lambda lines: [line + ",7" if row else line for row, line in enumerate(lines)], "line 2: found 15 cells"),
        (lambda lines: [*lines[:3], lines[3].rpartition(",")[0], *lines[4:]], "line 4: found 13 cells, expected 14"),
        (lambda lines: [*lines[:3], "", *lines[3:]], "line 4: found 0 cells, expected 14"),
        (lambda lines: [lines[0] + ",env", *(line + ",x" for line in lines[1:])], r"unknown column\(s\): env"),
        (
            lambda lines: [*lines[:3], lines[3].replace("lapo", '"la\npo"'), *lines[4:]],
            "line 4: found a cell with a line",
        ),
        (lambda lines: [*lines[:3], lines[3].replace("lapo", '"lapo'), *lines[4:]], "no readable CSV file"),
        (lambda lines: [*lines[:3], lines[3].replace("lapo", "x" * 200_000), *lines[4:]], "no readable CSV file"),
        (lambda lines: [], r"missing column\(s\): env"),
    ],
)
def test_a_table_whose_rows_have_another_form_is_refused(
    write_returns: WriteReturns, change: Callable[[list[str]], list[str]], message: str
) -> None:
    path = write_returns()
    path.write_text("\n".join(change(path.read_text().splitlines())))
    with pytest.raises(ValueError, match=rf"returns\.csv: (?s:.*){message}"):
        read_agent_returns(path)


NASTY = (
    "", "nan", "-inf", "1e308", "1e999", "9223372036854775808", "-5", "1_000", "²", "True", "\x00", "9" * 5000, "64 trajectories",
)  # fmt: skip


@pytest.fixture
def tables(write_returns: WriteReturns, write_metrics: Callable[..., Path], tmp_path: Path) -> dict[str, tuple]:
    """A sound file of every kind of table that is read, and its reader."""
    returns = [write_returns(method=method, seed=seed) for method in ("lapo", "bc") for seed in range(2)]
    outputs = {
        name: tmp_path / f"{name}.csv" for name in ("returns", "aggregate", "improvement", "differences", "profile")
    }
    summarise(
        returns=returns,
        **{f"output_{name}": path for name, path in outputs.items()},
        output_tables=[],
        labels=64,
        bootstrap_samples=10,
    )
    curve = tmp_path / "curve.csv"
    pd.DataFrame(
        [("procgen-maze", "rl", 0, step, 20, 2.0 + step, 1.0, 3.0) for step in range(1, 4)], columns=list(CURVE_COLUMNS)
    ).to_csv(curve, index=False)
    published = tmp_path / "lapo_returns.csv"
    published.write_text(PUBLISHED.read_text())
    return {
        "returns": (returns[0], lambda path: read_returns([path])),
        "metrics": (write_metrics("m", [(1, "train", "loss", 0.5), (2, "validation", "loss", 0.4)]), read_metrics),
        "aggregate": (outputs["aggregate"], read_aggregate),
        "improvement": (outputs["improvement"], read_improvement),
        "profile": (outputs["profile"], read_profile),
        "curve": (curve, lambda path: curve_estimates(read_online_curves([path]), samples=10)),
        "published": (published, read_published),
    }


@pytest.mark.slow
def test_no_absurd_cell_ends_in_anything_but_a_message_that_names_the_file(tables: dict[str, tuple]) -> None:
    for kind, (path, read) in tables.items():
        sound = list(csv.reader(path.open(newline="")))
        for place, cell in product(range(min(len(sound[0]), 12)), NASTY):
            with path.open("w", newline="") as opened:
                csv.writer(opened).writerows([*sound[:-1], [*sound[-1][:place], cell, *sound[-1][place + 1 :]]])
            what = f"{kind}: {sound[0][place]} {cell!r}"
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    found = read(path)
            except ValueError as error:
                assert str(path) in str(error) or str(error).startswith("environment procgen-maze: "), (
                    f"{what}: {error}"
                )
            else:
                numbers = found.select_dtypes("number").drop(columns="value", errors="ignore").to_numpy(float)
                assert not np.isinf(numbers).any(), what
