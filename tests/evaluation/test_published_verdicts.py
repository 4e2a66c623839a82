"""Verdicts in tables, in words, and beside returns; the published tables are judged by the command that users have."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from lamflow.evaluation.lam_tables import read_lams, told, with_verdicts
from lamflow.experiment.verdicts import main

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results"
RUNS = {
    "quickstart": ["config.yaml"],
    "xland": ["xland.yaml"],
    "procgen_laptop": ["procgen_laptop.yaml"],
}


def lams(*losses: tuple[float, float, float], **columns: object) -> pd.DataFrame:
    """A table of an older version: a model per seed with its loss, that with a shuffled latent, and that of copying."""
    table = pd.DataFrame(losses, columns=["fdm/loss", "fdm/loss_shuffled_latent", "fdm/loss_copy_last_frame"])
    named = table.assign(env="doorkey", lam="lapo", seed=range(len(losses)), step=1200, **columns)
    return named[["env", "lam", "seed", "step", *columns, *table.columns]]


@pytest.mark.parametrize(
    "name", ["quickstart/lams", "xland/lams", "procgen_laptop/lams", "xland_policies/horizon_lams"]
)
def test_tables_of_older_versions_are_judged(name: str) -> None:
    """All published models beat both references by far."""
    table = read_lams(RESULTS / f"{name}.csv")
    assert set(table["verdict"]) == {"healthy"}
    assert table["reason"].str.contains("with another transition's latent").all()


def test_verdicts_stand_before_the_metrics_and_are_made_anew() -> None:
    table = with_verdicts(lams((1, 3, 2), verdict="collapsed", reason="of old"))
    assert list(table.columns[:6]) == ["env", "lam", "seed", "step", "verdict", "reason"]
    assert table["verdict"].tolist() == ["healthy"]
    assert not table["reason"].str.contains("of old").any()


def test_models_without_measured_losses_have_no_verdict() -> None:
    table = with_verdicts(lams((1, 3, 2), (1, float("nan"), 2)))
    assert table["verdict"].tolist() == ["healthy", ""]


def test_healthy_models_are_told_in_one_line_and_others_with_what_to_try() -> None:
    assert told(with_verdicts(lams((1, 3, 2), (1, 3, 2)))) == "Latent action models: 2 healthy."
    text = told(with_verdicts(lams((1, 3, 2), (1, 1.01, 2), (4, 9, 2)))).splitlines()
    assert text[0] == (
        "Latent action models: 1 latent ignored, 1 prediction no better than copying the last frame, 1 healthy."
    )
    assert text[1].startswith("  lapo on doorkey, seed 1: latent ignored. ") and "Try more" in text[1]
    alike = told(with_verdicts(lams((1, 1, 2), (2, 2, 3)))).splitlines()
    assert len(alike) == 3 and alike[1].startswith("  lapo on doorkey, seed 0, 1: latent ignored. ")
    assert "docs/troubleshooting.md" in text[-1] and (ROOT / "docs" / "troubleshooting.md").exists()


@pytest.mark.parametrize("run", RUNS)
def test_the_published_verdicts_beside_returns_are_what_the_command_prints(
    run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(ROOT / "config" / name) for name in RUNS[run]]
    folder = RESULTS / run
    main([str(folder / "lams.csv"), "--aggregate", str(folder / "aggregate.csv"), "--configfile", *files])
    assert capsys.readouterr().out.strip() in (ROOT / "docs" / "troubleshooting.md").read_text()


def test_files_that_are_no_lam_tables_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "lams.csv"
    with pytest.raises(ValueError, match=r"lams\.csv: no such file; expected the table `summary/lams\.csv`"):
        read_lams(path)
    path.write_text("env,lam,seed,step,fdm/loss\nx,y,0,1,2\n")
    with pytest.raises(SystemExit):
        main([str(path)])
    assert "lams.csv: missing column(s): fdm/loss_shuffled_latent" in capsys.readouterr().err
    lams(("soon", 3, 2)).to_csv(path, index=False)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"lams\.csv: found text where metrics are numbers .*'soon'"):
        read_lams(path)
