"""The metrics file."""

from __future__ import annotations

from pathlib import Path

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
