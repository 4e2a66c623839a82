"""The rule ``plot_probability_of_improvement``: how likely each method is to beat the baselines."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from lamflow.code_digests import Code
from lamflow.evaluation.results import read_improvement
from lamflow.plots.probability_of_improvement import draw_probability_of_improvement
from lamflow.plots.style import save_figure
from lamflow.provenance import record_provenance


def plot_probability_of_improvement(
    *, improvement: Path | str, labels: str | int, baselines: Sequence[str], output: Path | str
) -> None:
    """Draw the rows of ``summary/improvement.csv`` that had ``labels`` labels, against each of ``baselines``."""
    started = time.monotonic()
    table = read_improvement(Path(improvement))
    figure = draw_probability_of_improvement(table, labels=str(labels), baselines=baselines)
    save_figure(figure, Path(output))
    record_provenance(
        Path(output),
        code=Code(__name__),
        settings={"labels": str(labels), "baselines": list(baselines)},
        inputs={"improvement": Path(improvement)},
        seed=None,
        wall_seconds=time.monotonic() - started,
    )
