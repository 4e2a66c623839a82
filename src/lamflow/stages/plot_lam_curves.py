"""The rule ``plot_lam_curves``: how the latent action models of one environment learned."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lamflow.code_digests import Code
from lamflow.evaluation.metrics import named_inputs, read_runs
from lamflow.plots.lam_curves import draw_lam_curves
from lamflow.plots.style import save_figure
from lamflow.provenance import record_provenance


def plot_lam_curves(*, metrics: Sequence[Path | str], runs: Sequence[dict[str, Any]], output: Path | str) -> None:
    """Draw the ``metrics.csv`` of every LAM run of one environment; ``runs[i]`` holds lam and seed of ``metrics[i]``."""
    started = time.monotonic()
    paths = [Path(path) for path in metrics]
    named = [{"lam": run["lam"], "seed": int(run["seed"])} for run in runs]
    save_figure(draw_lam_curves(read_runs(paths, named)), Path(output))
    record_provenance(
        Path(output),
        code=Code(__name__),
        settings={},
        inputs=named_inputs(paths, named),
        seed=None,
        wall_seconds=time.monotonic() - started,
    )
