"""What the report of a run with failures says of what is missing."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lamflow.runs.report import (
    describe_missing,
    forget_missing,
    left_out,
    note_missing,
    report_options,
    unmade_results,
)


@dataclass(eq=False)
class Job:
    """As Snakemake's, as far as it is read."""

    name: str
    output: list[str]
    log: list[str] = field(default_factory=list)
    wildcards_dict: dict[str, str] = field(default_factory=dict)
    is_local: bool = True

    @property
    def rule(self) -> Any:
        return SimpleNamespace(name=self.name)


def dag_of(needs: dict[Job, list[Job]], *, finished: Collection[Job] = ()) -> Any:
    """All of its jobs were planned."""
    return SimpleNamespace(
        jobs=list(needs), dependencies=needs, needrun=lambda job: True, finished=lambda job: job in finished
    )


def test_failed_jobs_stand_with_the_ends_of_their_logs_above_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lam.log").write_text("Traceback\n  line\nValueError: *bad* `frames`\n\n", encoding="utf-8")
    Path("made.svg").write_text("", encoding="utf-8")
    train = Job("train_lam", ["model"], ["lam.log"], {"experiment": "x", "env": "maze", "seed": "3"})
    umap, curves, made, table = (Job(f"plot_{name}", [f"{name}.svg"]) for name in ("umap", "curves", "made", "table"))
    dag = dag_of({train: [], umap: [train], curves: [umap], made: [], table: []}, finished=[made])
    unmade = unmade_results(dag, ["umap.svg", "curves.svg", "made.svg", "table.svg"])
    found = describe_missing(dag, {train}, unmade)
    assert "3 of its results could not be made" in found
    failed, stopped = found.split("Missing as the run stopped before")
    assert r"- ``train_lam`` (maze, 3), log ``lam.log``: *ValueError: \*bad\* \`frames\`*" in failed
    assert "- ``umap.svg``\n- ``curves.svg``" in failed
    assert "- ``table.svg``" in stopped and "made.svg" not in found


def test_what_an_earlier_run_left_in_the_place_of_a_result_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("table.csv").write_text("of other settings", encoding="utf-8")
    train, table = Job("train_lam", ["model"]), Job("summarise", ["table.csv"])
    dag = dag_of({train: [], table: [train]})
    assert unmade_results(dag, ["table.csv"]) == ["table.csv"]
    found = describe_missing(dag, [train], ["table.csv"])
    assert "Failed:\n\n- ``train_lam``" in found and "Missing for that:\n\n- ``table.csv``" in found
    note_missing(Path(), found, ["table.csv"])
    assert left_out(Path()) == ["table.csv"]


def test_jobs_of_a_group_count_as_failed_and_a_log_may_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    job = Job("plot_umap", ["umap.svg"], ["nowhere.log"])
    found = describe_missing(dag_of({job: []}), [SimpleNamespace(jobs=[job])], ["umap.svg"])
    assert "``plot_umap``, log ``nowhere.log``: *it says nothing*" in found


def test_a_new_run_forgets_what_was_missing(tmp_path: Path) -> None:
    note_missing(tmp_path, "text", ["table.csv"])
    forget_missing(tmp_path)
    forget_missing(tmp_path)
    assert left_out(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_the_report_is_of_the_experiment_that_the_command_line_names() -> None:
    line = ["--cores", "2", "--configfile=a.yaml", "--config", "seeds=[0]", "--report", "r.html", "--report-after-run"]
    assert report_options(line) == (Path("r.html"), ["--configfile", "a.yaml", "--config", "seeds=[0]"])
    assert report_options(["--cores", "2"]) == (None, [])
