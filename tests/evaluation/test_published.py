"""Returns that others have published."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamflow.envs.procgen_presets import PROCGEN_GAMES
from lamflow.evaluation.published import LABELS, OFFLINE, ONLINE, published_mean, read_published

TABLE = Path(__file__).parents[2] / "config" / "published" / "lapo_returns.csv"
GAMES = [f"procgen-{game}" for game in PROCGEN_GAMES]
OFFLINE_MEANS = (0.046, 0.155, 0.233, 0.325, 0.496, 0.548, 0.567, 0.571, 0.573, 0.574)


def test_all_games_are_published() -> None:
    assert sorted(read_published(TABLE)["env"].unique()) == sorted(GAMES)


def test_means_over_games_are_those_that_the_paper_reports() -> None:
    """Online 1.004, 0.925, 0.436 (RL + SL, RL, PPO from scratch); offline from 16 to 8192 labels."""
    means = published_mean(read_published(TABLE), GAMES).set_index(["method", "labels"])["normalized"]
    online = [means[method, "online"] for method in ONLINE.values()]
    assert online == pytest.approx([0.436, 0.925, 1.004], abs=0.0006)
    assert [means[OFFLINE, labels] for labels in LABELS] == pytest.approx(OFFLINE_MEANS, abs=0.0006)


@pytest.mark.parametrize("env", ["xland-r1-9x9", "procgen-bigfish-hard", "procgen-pong"])
def test_environments_that_are_not_published_have_no_mean(env: str) -> None:
    published = read_published(TABLE)
    assert published_mean(published, [env]).empty
    assert published_mean(published, [*GAMES, env]).empty


def test_returns_are_normalised_by_the_tables_own_references() -> None:
    coinrun = read_published(TABLE).query("env == 'procgen-coinrun' and labels == '64'")["normalized"]
    assert coinrun.tolist() == pytest.approx([(4.15 - 2.704834) / (9.93251 - 2.704834)])


def test_a_malformed_table_is_named(tmp_path: Path) -> None:
    path = tmp_path / "lapo_returns.csv"
    path.write_text(TABLE.read_text().replace("24.91", "many"))
    with pytest.raises(ValueError, match=r"lapo_returns\.csv: line 2, column offline_16_labels: found 'many'"):
        read_published(path)
