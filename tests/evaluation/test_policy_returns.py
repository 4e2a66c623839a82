"""Returns of policies while they train: means over seeds and draws, and every way a file can be wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from lamflow.evaluation.columns import POLICY_CURVE_COLUMNS, POLICY_RETURNS_COLUMNS
from lamflow.evaluation.policy_returns import read_policy_returns
from lamflow.plots.policy_returns import draw_policy_returns
from lamflow.stages.plot_policy_returns import plot_policy_returns
from lamflow.stages.summarise_policy_returns import summarise_policy_returns

WriteCurve = Callable[..., Path]
ENV = "xland-doorkey-6x6"


@pytest.fixture
def write_curve(tmp_path: Path) -> WriteCurve:
    """Writes the ``curve.csv`` of a training: at step s, draw d of seed k returns 0.1 + 0.8 (s / 100 + d / 10 + k / 5)."""

    def write(
        method: str = "lapo", seed: int = 0, env: str = ENV, draws: int = 2, random: float = 0.1, labels: str = "64"
    ) -> Path:
        rows = [
            (
                env,
                method,
                seed,
                labels,
                draw,
                "30",
                "validation",
                step,
                10,
                0.1 + 0.8 * (step / 100 + draw / 10 + seed / 5),
            )
            for step in (20, 40)
            for draw in range(draws)
        ]
        table = pd.DataFrame(rows, columns=[name for name in POLICY_CURVE_COLUMNS if name not in MORE]).assign(**MORE)
        path = tmp_path / env / method / f"seed{seed}" / "curve.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        table.assign(return_random=random)[list(POLICY_CURVE_COLUMNS)].to_csv(path, index=False)
        return path

    return write


MORE = {"success_rate": 0.5, "return_random": 0.1, "return_expert": 0.9}


def summarised(folder: Path, curves: list[Path]) -> pd.DataFrame:
    summarise_policy_returns(curves=curves, output=folder / "policy_returns.csv", bootstrap_samples=300)
    return pd.read_csv(folder / "policy_returns.csv", dtype={"labels": str})


def test_means_are_over_seeds_and_draws_at_each_step(write_curve: WriteCurve, tmp_path: Path) -> None:
    table = summarised(tmp_path, [write_curve(seed=seed) for seed in range(3)])
    assert tuple(table.columns) == POLICY_RETURNS_COLUMNS
    assert table["step"].tolist() == [20, 40]
    assert table["mean"].tolist() == pytest.approx([0.2 + 0.05 + 0.2, 0.4 + 0.05 + 0.2])
    assert table["return_mean"].tolist() == pytest.approx([0.1 + 0.8 * 0.45, 0.1 + 0.8 * 0.65])
    assert table[["num_seeds", "num_draws", "episodes", "policy_episodes"]].to_numpy().tolist() == [[3, 2, 60, 30]] * 2
    assert (table["low"] < table["mean"]).all() and (table["mean"] < table["high"]).all()
    single = summarised(tmp_path / "single", [write_curve(seed=0)])
    assert single["low"].tolist() == single["mean"].tolist() == single["high"].tolist()


def test_where_nothing_can_be_normalised_raw_returns_are_kept(write_curve: WriteCurve, tmp_path: Path) -> None:
    table = summarised(tmp_path, [write_curve(random=0.9), write_curve(env="xland-r1-9x9")])
    assert table[table["env"] == ENV]["mean"].isna().all() and table["return_mean"].notna().all()
    assert set(read_policy_returns(tmp_path / "policy_returns.csv")["env"]) == {"xland-r1-9x9"}


def test_the_figure_has_the_compared_budget_against_the_steps(write_curve: WriteCurve, tmp_path: Path) -> None:
    curves = [write_curve(), write_curve("bc", labels="16"), write_curve("oracle_bc", labels="all", draws=1)]
    summarised(tmp_path, curves)
    plot_policy_returns(returns=tmp_path / "policy_returns.csv", labels=64, output=tmp_path / "figure.svg")
    text = (tmp_path / "figure.svg").read_text()
    assert "training steps" in text and "LAPO" in text and "oracle BC" in text and ">BC<" not in text
    table = read_policy_returns(tmp_path / "policy_returns.csv")
    (panel,) = draw_policy_returns(table[table["method"] == "lapo"]).axes
    assert panel.lines[-1].get_xydata().tolist() == [[20, pytest.approx(0.25)], [40, pytest.approx(0.45)]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": ["0", "1", "0", "0"]}, "column seed holds 0, 1; one file holds one training"),
        ({"return_mean": "x"}, "line 2, column return_mean: found 'x'"),
        ({"step": "0"}, "line 2, column step: found '0', expected an integer of at least 1"),
        ({"labels": "many"}, "line 2, column labels: label budget 'many'"),
        ({"step": "20"}, "labels 64, label draw 0: step 20 is there twice"),
    ],
)
def test_a_malformed_curve_is_named(write_curve: WriteCurve, tmp_path: Path, change: dict, message: str) -> None:
    path = write_curve()
    pd.read_csv(path, dtype=str).assign(**change).to_csv(path, index=False)
    with pytest.raises(ValueError, match=message):
        summarised(tmp_path, [path])
    assert not (tmp_path / "policy_returns.csv").exists()


def test_trainings_that_were_not_evaluated_alike_are_refused(write_curve: WriteCurve, tmp_path: Path) -> None:
    fewer = write_curve(seed=1)
    fewer.write_text("".join(fewer.read_text().splitlines(keepends=True)[:3]))
    with pytest.raises(ValueError, match="the seeds were not evaluated at the same steps"):
        summarised(tmp_path, [write_curve(seed=0), fewer])
    with pytest.raises(ValueError, match=r"holds xland-doorkey-6x6, lapo, seed 0, which .* holds as well"):
        summarised(tmp_path, [write_curve(), write_curve()])
    with pytest.raises(ValueError, match="at least one is needed"):
        summarised(tmp_path, [])
