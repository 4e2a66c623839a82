"""Reading result tables: every way a file can be wrong has its message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from lamflow.evaluation.metrics import read_metrics, read_runs
from lamflow.evaluation.results import label_order, read_agent_returns, read_returns

WriteReturns = Callable[..., Path]


def test_label_budgets_sort_by_number_then_trajectories_then_all_then_online() -> None:
    budgets = ["online", "all", "1024", "500 trajectories", "16", "0", "50 trajectories"]
    expected = ["0", "16", "1024", "50 trajectories", "500 trajectories", "all", "online"]
    assert sorted(budgets, key=label_order) == expected


@pytest.mark.parametrize("budget", ["", "many", "-3", "1.5", "3 trajectory", "Online"])
def test_label_budget_of_another_form_is_refused(budget: str) -> None:
    with pytest.raises(ValueError, match="label budget"):
        label_order(budget)


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
