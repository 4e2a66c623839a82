"""The command ``lamflow``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from lamflow.cli import main
from lamflow.loaded import playing as playing_module
from lamflow.stages import evaluate_agents as evaluate_module

ROOT = Path(__file__).parents[2]


def test_a_command_that_there_is_not_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["lable"])
    assert "invalid choice: 'lable'" in capsys.readouterr().err


def test_errors_are_a_line_and_an_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(tmp_path / "nothing")]) == 1
    assert main(["inspect", str(tmp_path)]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and all(line.startswith(f"lamflow inspect: {tmp_path}") for line in said)
    assert "expected files of one of the kinds" in said[1]


@pytest.mark.slow
def test_recordings_are_told_with_the_configuration_that_uses_them(
    results: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(results.store("train"))]) == 0
    said = capsys.readouterr().out
    assert "recordings of the kind zarr" in said
    assert "episodes" in said and "30, " in said and "discrete, 6" in said
    assert "categories [8, 8, 2], seen by latent action models" in said
    pasted = yaml.safe_load(said.partition("configuration:\n")[2])
    assert pasted["environments"]["train"]["episodes"] == {"kind": "zarr", "path": str(results.store("train"))}
    assert pasted["envs"] == ["train"]


@pytest.mark.slow
def test_a_packed_agent_plays_the_levels_of_the_workflow(
    results: Any, grid_world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(evaluate_module, "make_vector_environment", lambda spec, count, **_: grid_world(count))
    monkeypatch.setattr(playing_module, "draw_levels", lambda spec, split, count, *_: np.arange(count) + 5000)
    folder = tmp_path / "agent"
    assert main(["pack", str(results.folder("policies", "lapo")), str(folder), "--labels", "64", "--draw", "1"]) == 0
    assert main(["play", str(folder), "--episodes", "4"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[1] == "LoadedAgent(lapo of xland-empty-random-8x8-full, seed 0, 64 labels, draw 1)"
    assert [line.split(":")[0].split()[0] for line in said[2:6]] == ["level"] * 4
    assert said[6].startswith("xland-empty-random-8x8-full: 4 episodes, mean return ")


@pytest.mark.slow
def test_an_agent_plays_only_what_shows_and_takes_the_same(results: Any, capsys: pytest.CaptureFixture[str]) -> None:
    agent = str(results.folder("evaluation", "random"))
    assert main(["play", agent, "CartPole-v1"]) == 1
    assert "CartPole-v1: found observations {'state': 'vector [4]'}" in capsys.readouterr().err
    assert main(["play", agent, "Nothing-v0"]) == 1
    assert "which Gymnasium does not know" in capsys.readouterr().err


@pytest.mark.slow
def test_stores_and_configurations_are_validated(
    results: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", str(results.store("test"))]) == 0
    assert main(["validate", str(ROOT / "config" / "tiny.yaml")]) == 0
    assert "ok: experiment tiny" in capsys.readouterr().out
    tmp_path.joinpath("wrong.yaml").write_text("experiment: x\nenvs: [nowhere]\n")
    assert main(["validate", str(tmp_path / "wrong.yaml")]) == 1
    assert "unknown environment 'nowhere'" in capsys.readouterr().err


def test_what_is_no_store_is_not_told_to_be_deleted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(tmp_path)]) == 1
    assert main(["validate", str(tmp_path / "no.yaml")]) == 1
    said = capsys.readouterr()
    assert "found no zarr.json, expected a store: check the path, stores end in .zarr" in said.out + said.err
    assert "no.yaml: not readable as YAML: No such file or directory" in said.err


def test_progress_is_that_of_make_progress(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["progress", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err


@pytest.mark.slow
def test_models_and_agents_are_exported(results: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(results.lam), str(tmp_path), "--formats", "torch"]) == 0
    agent = str(results.folder("policies", "dictionary"))
    assert main(["export", agent, str(tmp_path), "--formats", "torch", "--labels", "64", "--draw", "1"]) == 0
    names = ["encoder.pt2", "forward_dynamics.pt2", "lam_graphs.json", "agent.pt2", "agent_graphs.json"]
    assert capsys.readouterr().out.split() == [str(tmp_path / name) for name in names]
    facts = json.loads((tmp_path / "agent_graphs.json").read_text())
    assert (facts["method"], facts["labels"], facts["label_draw"]) == ("dictionary", "64", 1)


@pytest.mark.slow
def test_what_cannot_be_exported_is_refused(results: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(results.lam), str(tmp_path), "--labels", "64"]) == 1
    assert main(["export", str(results.folder("evaluation", "random")), str(tmp_path), "--formats", "torch"]) == 1
    said = capsys.readouterr().err
    assert (
        "expected them with agents alone" in said
        and "RandomAgent of xland-empty-random-8x8-full cannot be exported" in said
    )
    assert not list(tmp_path.iterdir())
