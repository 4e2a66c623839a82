"""Results on levels of the demonstrations beside those on test levels: rows of their own, which change no other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from test_summarise import TABLES, run

from lamflow.evaluation.results import read_agent_returns, read_aggregate, read_improvement, read_profile, read_returns
from lamflow.plots.method_comparison import draw_method_comparison
from lamflow.stages.summarise import summarise_agents

WriteReturns = Callable[..., Path]
TRAIN = {"16": 0.5, "64": 1.0}


@pytest.fixture
def both(write_returns: WriteReturns) -> list[Path]:
    lapo = [write_returns(seed=seed, train_skills=TRAIN, policy_episodes="30") for seed in range(2)]
    bc = [write_returns(method="bc", seed=seed, train_skills=TRAIN, policy_episodes="") for seed in range(2)]
    return [*lapo, *bc]


def without_train(path: Path) -> Path:
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    path.write_text(table[table["split"] == "test"].to_csv(index=False), encoding="utf-8")
    return path


def test_the_rows_of_test_levels_are_what_they_are_without_others(both: list[Path], tmp_path: Path) -> None:
    together = run(both, tmp_path / "both")
    alone = run(list(map(without_train, both)), tmp_path / "alone")
    for name, table, tests in zip(TABLES, together, alone, strict=True):
        kept = table[table["split"] == "test"].reset_index(drop=True)
        pd.testing.assert_frame_equal(kept, tests, obj=name)
        assert len(table) > len(kept)


def test_each_split_has_the_numbers_of_its_own_episodes(both: list[Path], tmp_path: Path) -> None:
    agents, aggregate, improvement, differences, profile = run(both, tmp_path)
    rows = aggregate.query("method == 'lapo' and labels == '64'").set_index("split")
    assert rows["mean"].to_dict() == pytest.approx({"test": 0.8, "train": 1.0})
    assert rows["policy_episodes"].tolist() == [30, 30]
    assert agents.groupby("split").size().to_dict() == {"test": 16, "train": 16}
    assert all(set(table["split"]) == {"test", "train"} for table in (improvement, differences, profile))


def test_printed_tables_have_a_part_per_split_and_say_of_how_few_episodes_policies_are(
    both: list[Path], tmp_path: Path
) -> None:
    run(both, tmp_path)
    table = pd.read_csv(tmp_path / "table.csv")
    assert table.groupby(["quantity", "split"])["lapo"].last().loc["normalized_return"].to_dict() == pytest.approx(
        {"test": 0.8, "train": 1.0}
    )
    markdown, latex = ((tmp_path / f"table.{suffix}").read_text() for suffix in ("md", "tex"))
    for text in (markdown, latex):
        assert "Normalised return, train levels" in text
        assert "Policies of lapo: trained on 30 episodes." in text and "Policies of bc" not in text


def test_figures_read_test_levels_unless_they_ask_for_more(both: list[Path], tmp_path: Path) -> None:
    run(both, tmp_path)
    for read, name in ((read_aggregate, "aggregate"), (read_improvement, "improvement"), (read_profile, "profile")):
        assert set(read(tmp_path / f"{name}.csv")["split"]) == {"test"}
    aggregate = read_aggregate(tmp_path / "aggregate.csv", split=None)
    figure = draw_method_comparison(aggregate, labels="64")
    assert [panel.get_xlabel() for panel in figure.axes][-1] == "normalised return, train levels"
    assert (
        len(figure.axes) == 3
        and len(draw_method_comparison(aggregate[aggregate["split"] == "test"], labels="64").axes) == 2
    )


def test_tables_of_an_environment_have_both_splits(both: list[Path], tmp_path: Path) -> None:
    summarise_agents(returns=both, output=tmp_path / "env.csv")
    assert set(pd.read_csv(tmp_path / "env.csv")["split"]) == {"test", "train"}


def test_tables_of_older_versions_are_of_test_levels(write_returns: WriteReturns) -> None:
    path = write_returns()
    expected = read_agent_returns(path).assign(policy_episodes="")
    pd.read_csv(path, dtype=str).drop(columns=["split", "policy_episodes"]).to_csv(path, index=False)
    pd.testing.assert_frame_equal(read_agent_returns(path), expected)


def test_files_of_other_splits_do_not_mix(both: list[Path]) -> None:
    without_train(both[1])
    with pytest.raises(
        ValueError, match=r"holds episodes of the split\(s\) test, .*seed0.* of test, train, expected test in each"
    ):
        read_returns(both)


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("split", "validation", "column split: found 'validation', expected test or train"),
        (
            "policy_episodes",
            "few",
            "column policy_episodes: found 'few', expected a number of episodes, all, or nothing",
        ),
    ],
)
def test_a_wrong_cell_is_named(write_returns: WriteReturns, column: str, cell: str, message: str) -> None:
    path = write_returns()
    pd.read_csv(path, dtype=str).assign(**{column: cell}).to_csv(path, index=False)
    with pytest.raises(ValueError, match=message):
        read_agent_returns(path)
