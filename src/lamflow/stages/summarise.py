"""The rules ``summarise`` and ``summarise_agents``: agents' episodes to tables of agents, aggregates and comparisons."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lamflow.evaluation.columns import (
    AGENT_COLUMNS,
    AGGREGATE_COLUMNS,
    DIFFERENCE_COLUMNS,
    IMPROVEMENT_COLUMNS,
    PROFILE_COLUMNS,
)
from lamflow.evaluation.results import read_returns
from lamflow.evaluation.summaries import (
    Strata,
    add_normalized,
    agent_rows,
    aggregate_rows,
    difference_rows,
    group_agents,
    improvement_rows,
    profile_rows,
)
from lamflow.evaluation.tables import returns_table, to_csv, to_latex, to_markdown
from lamflow.provenance import record_provenance, write_text

TABLE_FORMATS = {".csv": to_csv, ".md": to_markdown, ".tex": to_latex}


def summarise(
    *,
    returns: Sequence[Path | str],
    output_returns: Path | str,
    output_aggregate: Path | str,
    output_improvement: Path | str,
    output_differences: Path | str,
    output_profile: Path | str,
    output_tables: Sequence[Path | str],
    labels: str | int,
    bootstrap_samples: int,
) -> None:
    """Write the table of agents, the aggregates, the comparisons of pairs of methods, all with intervals, and the performance profiles.

    ``returns``: every agent job's ``returns.csv``. The rows with env ``all`` aggregate over environments, for the methods that
    ran on each of them. ``labels``: the budget of the profiles and of ``output_tables``, the printed table (.csv, .md or .tex).
    ValueError when the files are malformed, mixed or incomplete; nothing is written then.
    """
    started = time.monotonic()
    paths = [Path(path) for path in returns]
    episodes = add_normalized(read_returns(paths))
    strata = group_agents(episodes, samples=bootstrap_samples)
    tables = {
        output_returns: (AGENT_COLUMNS, agent_rows(episodes)),
        output_aggregate: (AGGREGATE_COLUMNS, aggregate_rows(strata)),
        output_improvement: (IMPROVEMENT_COLUMNS, improvement_rows(strata)),
        output_differences: (DIFFERENCE_COLUMNS, difference_rows(strata)),
        output_profile: (PROFILE_COLUMNS, profile_rows(strata, labels=str(labels))),
    }
    texts = {output: _text(columns, rows) for output, (columns, rows) in tables.items()}
    texts |= _printed(strata, episodes, str(labels), output_tables)
    settings = {"bootstrap_samples": bootstrap_samples, "labels": str(labels)}
    for output, text in texts.items():
        write_text(Path(output), text)
    for output in {Path(output).with_suffix(""): Path(output) for output in reversed(texts)}.values():
        _record(output, paths, settings, started)  # once for the formats of one table


def summarise_agents(*, returns: Sequence[Path | str], output: Path | str) -> None:
    """Write the table of agents alone, for the results of one environment or one seed (columns of ``summary/returns.csv``)."""
    started = time.monotonic()
    paths = [Path(path) for path in returns]
    write_text(Path(output), _text(AGENT_COLUMNS, agent_rows(add_normalized(read_returns(paths)))))
    _record(Path(output), paths, {}, started)


def _text(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV; numbers with six significant digits."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([f"{row[name]:.6g}" if isinstance(row[name], float) else row[name] for name in columns])
    return buffer.getvalue()


def _printed(
    strata: Strata, episodes: pd.DataFrame, labels: str, outputs: Sequence[Path | str]
) -> dict[Path | str, str]:
    """The table of returns in the format of each output's suffix."""
    by_env = episodes.groupby("env")[["return_random", "return_expert"]].first()
    references = {str(env): (float(low), float(high)) for env, low, high in by_env.itertuples()}
    table = returns_table(strata, references, labels=labels)
    return {output: TABLE_FORMATS[Path(output).suffix](table) for output in outputs}


def _record(output: Path, returns: Sequence[Path], settings: Mapping[str, Any], started: float) -> None:
    record_provenance(
        output,
        stage=__name__,
        settings=settings,
        inputs={str(path): path for path in returns},
        seed=None,
        wall_seconds=time.monotonic() - started,
    )
