"""The rule ``plot_online_curves``: return against environment steps of methods that are trained online."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from lamflow.code_digests import Code
from lamflow.evaluation.online import curve_estimates, read_online_curves
from lamflow.evaluation.published import read_published
from lamflow.evaluation.references import reference_errors
from lamflow.plots.online_curves import NO_EPISODES, draw_online_curves
from lamflow.plots.style import NOTHING_NORMALISED, save_figure
from lamflow.provenance import record_provenance


def plot_online_curves(
    *,
    curves: Sequence[Path | str],
    output: Path | str,
    bootstrap_samples: int = 2000,
    published: Path | str | None = None,
    episodes: Sequence[Path | str] = (),
) -> None:
    """Draw the runs' ``curve.csv`` as ``output`` (.svg or .png), the mean over seeds with its 95% interval.

    ``published``: the table of LAPO's returns, ``config/published/lapo_returns.csv``. ``episodes``: the environments' test stores,
    which know the errors of the references. ValueError when a file is malformed.
    """
    started = time.monotonic()
    paths = [Path(path) for path in curves]
    normalized = read_online_curves(paths, reference_errors(episodes))
    figure = draw_online_curves(
        curve_estimates(normalized, samples=bootstrap_samples),
        published=read_published(Path(published)) if published else None,
        nothing=NOTHING_NORMALISED if normalized.empty else NO_EPISODES,
    )
    save_figure(figure, Path(output))
    record_provenance(
        Path(output),
        code=Code(__name__),
        settings={"bootstrap_samples": bootstrap_samples},
        inputs={str(path): path for path in paths} | ({"published": Path(published)} if published else {}),
        seed=None,
        wall_seconds=time.monotonic() - started,
    )
