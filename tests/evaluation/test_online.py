"""Curves of methods trained online: reading them, and their means over seeds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lamflow.evaluation import online
from lamflow.evaluation.columns import CURVE_COLUMNS, ONLINE_COLUMNS
from lamflow.evaluation.online import curve_estimates, read_online_curve, read_online_curves, sample_efficiency
from lamflow.stages.plot_online_curves import plot_online_curves
from lamflow.stages.summarise_online import summarise_online

ENV, OTHER = "procgen-coinrun", "procgen-maze"


@pytest.fixture
def write_curve(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a run's ``curve.csv``; random returns 1 and the demonstrator 3."""

    def write(returns: list[float], seed: int = 0, env: str = ENV, method: str = "rl", **columns: object) -> Path:
        table = pd.DataFrame({"return_mean": returns}).assign(
            env=env, method=method, seed=seed, return_random=1.0, return_expert=3.0,
            env_steps=100 * np.arange(1, len(returns) + 1), episodes=np.where(np.isnan(returns), 0, 20),
        )  # fmt: skip
        path = tmp_path / env / method / f"seed{seed}" / "curve.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        table.assign(**columns)[list(CURVE_COLUMNS)].to_csv(path, index=False)
        return path

    return write


def estimates(paths: list[Path], **query: str) -> pd.DataFrame:
    found = curve_estimates(read_online_curves(paths), samples=200)
    for column, value in query.items():
        found = found[found[column] == value]
    return found.reset_index(drop=True)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"env_steps": [1, 3, 3]}, "column env_steps does not grow"),
        ({"env_steps": [1, 2.5, 3]}, "line 3, column env_steps: found '2.5', expected an integer"),
        ({"return_mean": [1, "x", 2]}, "line 3, column return_mean: found 'x', expected a number, or nothing"),
        ({"return_mean": [1, None, 2]}, "line 3, column return_mean: found '', expected the mean return of the row's"),
        ({"seed": [0, 0, 1]}, "column seed holds 0, 1; one file holds one run"),
        ({"return_expert": [3, 3, 4]}, "column return_expert holds"),
    ],
)
def test_a_malformed_curve_is_named(write_curve: Callable[..., Path], columns: dict, message: str) -> None:
    path = write_curve([1.0, 2.0, 3.0], **columns)
    with pytest.raises(ValueError, match=message) as error:
        read_online_curve(path)
    assert str(path) in str(error.value)


def test_curves_that_do_not_belong_together_are_refused(write_curve: Callable[..., Path], tmp_path: Path) -> None:
    first = write_curve([1.0, 2.0])
    with pytest.raises(ValueError, match=r"no curve\.csv files were given"):
        read_online_curves([])
    with pytest.raises(ValueError, match=r"seed 0, which .* holds as well"):
        read_online_curves([first, Path(str(first).replace("seed0", "./seed0/../seed0"))])
    with pytest.raises(ValueError, match=r"return_expert of procgen-coinrun is 4, but .* has 3"):
        read_online_curves([first, write_curve([1.0, 2.0], seed=1, return_expert=4.0)])
    with pytest.raises(ValueError, match="all seeds of rl on procgen-coinrun need the same rows"):
        read_online_curves([first, write_curve([1.0, 2.0, 3.0], seed=2)])


def test_curves_that_cannot_be_normalised_are_left_out_and_said(
    write_curve: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_curve([1.0, 2.0], env=OTHER, return_expert=1.0)
    assert read_online_curves([path]).empty
    assert "there is nothing to normalise by" in caplog.text and OTHER in caplog.text
    tables = {name: tmp_path / f"{name}.csv" for name in ("curves", "efficiency")}
    summarise_online(curves=[path], bootstrap_samples=50, **{f"output_{name}": table for name, table in tables.items()})
    assert pd.read_csv(tables["curves"]).columns.tolist() == list(ONLINE_COLUMNS)
    assert all(pd.read_csv(table).empty for table in tables.values())
    plot_online_curves(curves=[path], output=tmp_path / "curves.svg")
    assert "The returns of no environment can be normalised" in (tmp_path / "curves.svg").read_text()


def test_a_curve_is_the_mean_of_normalised_returns_over_seeds(write_curve: Callable[..., Path]) -> None:
    found = estimates([write_curve([1.0, 2.0, 3.0]), write_curve([1.0, 3.0, 5.0], seed=1)])
    assert found["env_steps"].tolist() == [100, 200, 300]
    assert found["mean"].tolist() == pytest.approx([0, 0.75, 1.5])
    assert found["low"].tolist() == pytest.approx([0, 0.5, 1.0])
    assert found["high"].tolist() == pytest.approx([0, 1.0, 2.0])


def test_a_curve_begins_where_all_seeds_have_a_return_and_bridges_rows_without_episodes(
    write_curve: Callable[..., Path],
) -> None:
    nan = float("nan")
    found = estimates([write_curve([nan, 1.0, nan, 3.0, nan]), write_curve([1.0] * 5, seed=1)])
    assert found["env_steps"].tolist() == [200, 300, 400, 500]
    assert found["mean"].tolist() == pytest.approx([0, 0.25, 0.5, 0.5])


def test_long_curves_are_pooled_by_episodes(write_curve: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(online, "MOST_POINTS", 2)
    monkeypatch.setattr(online, "LEAST_EPISODES", 2)
    found = estimates([write_curve([1.0, 3.0, 3.0, 1.0, 5.0], episodes=[1, 3, 0, 1, 1])])
    assert found["env_steps"].tolist() == [100, 400]
    # Through .75 at step 175, where the first three rows' episodes are, and 1 at step 450, level before the first.
    assert found["mean"].tolist() == pytest.approx([0.75, 0.75 + 0.25 * 225 / 275])


def test_a_point_holds_enough_episodes_to_be_one(write_curve: Callable[..., Path]) -> None:
    found = estimates([write_curve([1.0, 5.0, 1.0, 1.0, 5.0], episodes=[64, 1, 10, 9, 3])])
    assert found["mean"].tolist()[0] == 0, "64 episodes"
    assert found["mean"].tolist()[-1] == pytest.approx((2 * 1 + 2 * 3) / 23), "the others, pooled"


def test_all_environments_are_averaged_at_the_steps_that_all_cover(write_curve: Callable[..., Path]) -> None:
    paths = [write_curve([1.0, 2.0, 3.0]), write_curve([3.0, 5.0], env=OTHER, env_steps=[150, 250])]
    paths.append(write_curve([1.0, 1.0], method="partial"))
    found = estimates(paths, env="all")
    assert found["method"].unique().tolist() == ["rl"]
    assert found["env_steps"].tolist() == [150, 200, 250]
    assert found["mean"].tolist() == pytest.approx([(0.25 + 1) / 2, (0.5 + 1.5) / 2, (0.75 + 2) / 2])


def test_another_method_leaves_the_intervals_as_they_were(write_curve: Callable[..., Path]) -> None:
    paths = [write_curve(list(np.random.default_rng(seed).random(4) + 1), seed=seed) for seed in range(4)]
    before = estimates(paths, method="rl")
    after = estimates([write_curve([1.0] * 4, method="aaa"), *reversed(paths)], method="rl")
    pd.testing.assert_frame_equal(before, after)


def test_methods_are_compared_at_a_tenth_of_the_steps_that_the_other_needs_to_converge(
    write_curve: Callable[..., Path], tmp_path: Path
) -> None:
    slow = write_curve([1.0] * 10 + [2.0] * 4 + [3.0] * 16, method="slow")  # converges at 1,500 of 3,000 steps
    fast = write_curve([2.0, 2.6, 3.0], method="fast")
    curves, efficiency = tmp_path / "online.csv", tmp_path / "efficiency.csv"
    summarise_online(curves=[slow, fast], output_curves=curves, output_efficiency=efficiency, bootstrap_samples=200)
    rows = pd.read_csv(efficiency).set_index(["method", "baseline"])
    assert set(rows.index) == {("fast", "slow"), ("slow", "fast")}
    pair = rows.loc[("fast", "slow")]
    assert (pair["baseline_final"], pair["baseline_converged"], pair["env_steps"]) == (1, 1500, 150)
    assert pair["mean"] == pytest.approx(0.65) and pair["baseline_mean"] == 0
    assert pd.read_csv(curves).groupby("method").size().to_dict() == {"fast": 3, "slow": 30}


def test_a_baseline_that_never_rises_says_nothing_of_steps_saved(write_curve: Callable[..., Path]) -> None:
    rows = sample_efficiency(estimates([write_curve([1.0, 2.0, 3.0]), write_curve([1.0] * 3, method="flat")]))
    assert rows[["method", "baseline"]].to_numpy().tolist() == [["flat", "rl"]]


def test_an_environment_that_cannot_be_normalised_is_left_out_of_the_curves(
    write_curve: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    found = estimates([write_curve([1.0, 2.0]), write_curve([1.0, 2.0], env=OTHER, return_random=4.0)])
    assert found["env"].unique().tolist() == [ENV]
    assert f"{OTHER} is left out of what is normalised: the demonstrator (3) is not above random (4)" in caplog.text
