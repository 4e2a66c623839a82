"""The rule ``plot_label_curve_actions``: answers to recorded actions against the number of labels."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from lamflow.code_digests import Code
from lamflow.evaluation.action_scores import read_action_aggregate
from lamflow.plots.label_curve_actions import draw_label_curve_actions
from lamflow.plots.style import save_figure
from lamflow.provenance import record_provenance
from lamflow.stages.plot_label_curve import mean_lengths


def plot_label_curve_actions(
    *, aggregate: Path | str, envs: Sequence[str], output: Path | str, episodes: Sequence[Path | str] = ()
) -> None:
    """Draw ``summary/action_aggregate.csv`` as ``output`` (.svg or .png), a panel per environment of ``envs``. ``episodes``: train stores,
    as in ``plot_label_curve``."""
    started = time.monotonic()
    lengths = mean_lengths(episodes)
    table = read_action_aggregate(Path(aggregate))
    save_figure(draw_label_curve_actions(table, envs=envs, trajectory_lengths=lengths), Path(output))
    record_provenance(
        Path(output),
        code=Code(__name__),
        settings={"envs": list(envs), "trajectory_lengths": lengths},
        inputs={"aggregate": Path(aggregate)},
        seed=None,
        wall_seconds=time.monotonic() - started,
    )
