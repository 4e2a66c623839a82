"""Results of a union of environments: rows of each environment that was played, and their mean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lamflow.evaluation.results import read_returns
from lamflow.evaluation.summaries import add_normalized, agent_rows, aggregate_rows, difference_rows, group_agents
from lamflow.evaluation.tables import returns_table, to_latex, to_markdown

WriteReturns = Callable[..., Path]
SKILLS = {"lapo": {"maze": 0.2, "heist": 0.8}, "bc": {"maze": 0.1, "heist": 0.3}}


@pytest.fixture
def write_union(write_returns: WriteReturns, tmp_path: Path) -> Callable[[str], Path]:
    """Writes the ``returns.csv`` of a method's job on the union ``two``, and returns its path."""

    def write(method: str) -> Path:
        parts = [write_returns(env, method, skills={"64": skill}) for env, skill in SKILLS[method].items()]
        tables = [pd.read_csv(part) for part in parts]
        # The returns of heist are on another scale.
        tables[1][["return", "return_random", "return_expert"]] *= 100
        path = tmp_path / f"{method}.csv"
        table = pd.concat(tables)
        table.assign(env="two/" + table["env"]).to_csv(path, index=False)
        return path

    return write


def test_each_environment_has_its_rows_and_the_union_the_mean_of_normalised_returns(
    write_union: Callable[[str], Path], write_returns: WriteReturns
) -> None:
    others = [write_returns("chaser", method, skills={"64": 0.5}) for method in SKILLS]
    played = add_normalized(read_returns([*map(write_union, SKILLS), *others]))
    agents = {(row["env"], row["method"]): row["normalized_return"] for row in agent_rows(played) if row["label_draw"] == 0}  # fmt: skip
    assert agents["two/heist", "lapo"] == pytest.approx(0.8)
    strata = group_agents(played, samples=20)
    assert list(strata) == ["chaser", "two", "two/heist", "two/maze", "all"]
    means = {(row["env"], row["method"]): row["mean"] for row in aggregate_rows(strata)}
    for method, skills in SKILLS.items():
        for env, skill in skills.items():
            assert means[f"two/{env}", method] == pytest.approx(skill)
        assert means["two", method] == pytest.approx(np.mean(list(skills.values())))
        assert means["all", method] == pytest.approx(np.mean([0.5, *skills.values()]))
    (gain,) = (row for row in difference_rows(strata) if row["env"] == "two" and row["method"] == "lapo")
    assert gain["difference"] == pytest.approx(0.3)


def test_the_printed_table_has_raw_returns_of_what_was_played_alone(write_union: Callable[[str], Path]) -> None:
    played = add_normalized(read_returns([write_union("lapo"), write_union("bc")]))
    references = {"two/maze": (0.1, 0.9), "two/heist": (10.0, 90.0)}
    table = returns_table(group_agents(played, samples=20), references, labels="64")
    names = {(row.quantity, row.name): row.cells["lapo"].value for row in table.rows}
    assert [name for quantity, name in names if quantity == "return"] == ["two/heist", "two/maze"]
    assert names["return", "two/heist"] == pytest.approx(74)
    assert names["normalized_return", "two"] == names["normalized_return", "mean"] == pytest.approx(0.5)
    assert "two/heist" in to_markdown(table)
    assert "two/heist" in to_latex(table)


def test_a_file_holds_one_union_and_each_episode_once(write_union: Callable[[str], Path], tmp_path: Path) -> None:
    table = pd.read_csv(write_union("lapo"))
    for changed, message in (
        (table.replace("two/heist", "three/heist"), "column env holds three/heist, two/maze; one file holds"),
        (pd.concat([table, table.tail(1)]), "episode 9 is there twice"),
        (table.assign(env="two/heist/hard"), "found 'two/heist/hard', expected the name of an environment"),
    ):
        changed.to_csv(tmp_path / "wrong.csv", index=False)
        with pytest.raises(ValueError, match=message):
            read_returns([tmp_path / "wrong.csv"])
    table.to_csv(tmp_path / "again.csv", index=False)
    with pytest.raises(ValueError, match=r"holds two, lapo, seed 0, which .* holds as well"):
        read_returns([write_union("lapo"), tmp_path / "again.csv"])
