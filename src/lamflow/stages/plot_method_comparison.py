"""The rule ``plot_method_comparison``: all methods at one number of labels."""

from __future__ import annotations

import time
from pathlib import Path

from lamflow.code_digests import Code
from lamflow.evaluation.results import read_aggregate
from lamflow.plots.method_comparison import draw_method_comparison
from lamflow.plots.style import save_figure
from lamflow.provenance import record_provenance


def plot_method_comparison(*, aggregate: Path | str, labels: str | int, output: Path | str) -> None:
    """Draw the rows of ``summary/aggregate.csv`` that had ``labels`` labels ('64', '500 trajectories'), and the references."""
    started = time.monotonic()
    save_figure(draw_method_comparison(read_aggregate(Path(aggregate), split=None), labels=str(labels)), Path(output))
    record_provenance(
        Path(output),
        code=Code(__name__),
        settings={"labels": str(labels)},
        inputs={"aggregate": Path(aggregate)},
        seed=None,
        wall_seconds=time.monotonic() - started,
    )
