"""Training metrics as they come from ``metrics.csv`` (columns step, split, name, value), read for tables and figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lamflow.evaluation.cells import parsed, read_table, to_numbers

METRICS_COLUMNS = ("step", "split", "name", "value")
SPLITS = ("train", "validation")


def read_metrics(path: Path) -> pd.DataFrame:
    """One run's metrics with ``step`` int64 and ``value`` float64; ValueError names the file and what is wrong."""
    table = read_table(path, METRICS_COLUMNS)
    to_numbers(table, ("step",), int, path, least=0)
    unknown = ~table["split"].isin(SPLITS)
    if unknown.any():
        bad = table[unknown].iloc[0]
        raise ValueError(
            f"{path}: line {bad.name + 2}, column split holds {bad['split']}; expected {' or '.join(SPLITS)}"
        )
    values = parsed(table["value"])
    unreadable = values.isna() & (table["value"].str.strip().str.lower() != "nan")
    if unreadable.any():
        bad = table[unreadable].iloc[0]
        raise ValueError(
            f"{path}: line {bad.name + 2}, column value: {bad['name']} at step {bad['step']} is {bad['value']!r}, which is no number"
        )
    table["value"] = values
    return table


def read_runs(paths: Sequence[Path], runs: Sequence[dict[str, object]]) -> pd.DataFrame:
    """The metrics of several runs in one table; ``runs[i]`` holds the columns that say what ``paths[i]`` is (env, seed, ...).

    ValueError when there is nothing to read, when the two differ in length or when a run is listed twice.
    """
    if not paths or len(paths) != len(runs):
        raise ValueError(f"{len(paths)} metrics files for {len(runs)} runs; expected one file a run and at least one")
    for index, run in enumerate(runs):
        if run in runs[:index]:
            raise ValueError(f"{paths[index]}: run {run} is listed twice")
    return pd.concat(
        [read_metrics(path).assign(**run) for path, run in zip(paths, runs, strict=True)], ignore_index=True
    )


def named_inputs(paths: Sequence[Path], runs: Sequence[dict[str, object]]) -> dict[str, Path]:
    """The runs' files by name, as ``provenance.record_provenance`` takes them."""
    return {
        ", ".join(f"{key} {value}" for key, value in run.items()): path for path, run in zip(paths, runs, strict=True)
    }
