"""The rule ``plot_label_curve``: normalised return against the number of labels."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lamflow.code_digests import Code
from lamflow.data.labels import episodes_with_transitions
from lamflow.data.store import EpisodeStore
from lamflow.evaluation.published import read_published
from lamflow.evaluation.results import EVERY_ENV, read_aggregate
from lamflow.plots.label_curve import draw_label_curve
from lamflow.plots.style import save_figure
from lamflow.provenance import record_provenance


def plot_label_curve(
    *,
    aggregate: Path | str,
    output: Path | str,
    statistic: str = "mean",
    episodes: Sequence[Path | str] = (),
    published: Path | str | None = None,
) -> None:
    """Draw ``summary/aggregate.csv`` as ``output`` (.svg or .png); ``statistic``: mean, iqm or success.

    ``episodes``: train stores, whose mean lengths of episodes that have transitions place budgets in trajectories on the axis of
    transitions; without them such budgets are a category at the right. ``published``: the table of LAPO's returns,
    ``config/published/lapo_returns.csv``.
    """
    started = time.monotonic()
    lengths = mean_lengths(episodes)
    if lengths:
        lengths[EVERY_ENV] = float(np.exp(np.mean(np.log(list(lengths.values())))))
    figure = draw_label_curve(
        read_aggregate(Path(aggregate)),
        statistic=statistic,
        trajectory_lengths=lengths,
        published=read_published(Path(published)) if published else None,
    )
    save_figure(figure, Path(output))
    record_provenance(
        Path(output),
        code=Code(__name__),
        settings={"statistic": statistic, "trajectory_lengths": lengths},
        inputs={"aggregate": Path(aggregate)} | ({"published": Path(published)} if published else {}),
        seed=None,
        wall_seconds=time.monotonic() - started,
    )


def mean_lengths(episodes: Sequence[Path | str]) -> dict[str, float]:
    """The mean number of transitions of the episodes that have some, by environment."""
    lengths = {}
    for path in episodes:
        store = EpisodeStore.open(path)
        drawn = episodes_with_transitions(store.array("episode_starts")[...], store.num_rows)
        if len(drawn):
            lengths[store.env] = store.num_transitions / len(drawn)
    return lengths
