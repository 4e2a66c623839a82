"""The metrics file, and Weights & Biases beside it when that is asked for."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lamflow.config import LoggingSettings
from lamflow.training.metrics import MetricsLog


def test_the_file_has_a_row_a_value(tmp_path: Path) -> None:
    log = MetricsLog()
    log.log(50, "train", {"loss/total": 1 / 3, "codebook/perplexity": 4})
    log.log(50, "validation", {"loss/total": 2e-9})
    log.write(tmp_path / "deep" / "metrics.csv")
    assert (tmp_path / "deep" / "metrics.csv").read_text() == (
        "step,split,name,value\n50,train,loss/total,0.333333\n50,train,codebook/perplexity,4\n50,validation,loss/total,2e-09\n"
    )


def test_the_latest_value_of_each_name_can_be_asked_for() -> None:
    log = MetricsLog()
    log.log(1, "train", {"a": 1, "b": 2})
    log.log(2, "train", {"a": 3})
    log.log(2, "validation", {"a": 4})
    assert log.latest("train") == {"a": 3, "b": 2}
    assert log.latest("validation") == {"a": 4}


def test_weights_and_biases_gets_the_same_values_offline_and_only_if_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started: list[dict[str, Any]] = []
    logged: list[tuple[dict[str, float], int]] = []
    finished: list[bool] = []

    def init(**arguments: Any) -> SimpleNamespace:
        started.append(arguments)
        return SimpleNamespace(
            log=lambda values, step: logged.append((values, step)), finish=lambda: finished.append(True)
        )

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    MetricsLog(LoggingSettings(), run_name="a").finish()
    assert not started
    log = MetricsLog(LoggingSettings(wandb=True), run_name="env/lam/seed0", directory=tmp_path)
    log.log(7, "train", {"loss/total": 2})
    log.finish()
    assert started[0]["mode"] == "offline" and started[0]["project"] == "lamflow"
    assert started[0]["id"] == "env-lam-seed0" and started[0]["dir"] == str(tmp_path)
    assert logged == [({"train/loss/total": 2.0}, 7)]
    assert finished == [True]
