"""The rule ``plot_performance_profile``: the fraction of agents above each normalised return."""

from __future__ import annotations

import time
from pathlib import Path

from lamflow.code_digests import Code
from lamflow.evaluation.results import read_profile
from lamflow.plots.performance_profile import draw_performance_profile
from lamflow.plots.style import save_figure
from lamflow.provenance import record_provenance


def plot_performance_profile(*, profile: Path | str, output: Path | str) -> None:
    """Draw ``summary/profile.csv`` as ``output`` (.svg or .png)."""
    started = time.monotonic()
    save_figure(draw_performance_profile(read_profile(Path(profile))), Path(output))
    record_provenance(
        Path(output),
        code=Code(__name__),
        settings={},
        inputs={"profile": Path(profile)},
        seed=None,
        wall_seconds=time.monotonic() - started,
    )
