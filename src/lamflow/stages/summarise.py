"""The rules ``summarise`` and ``summarise_agents``: agents' episodes to tables of agents, aggregates and comparisons."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lamflow.evaluation.columns import AGENT_COLUMNS, AGGREGATE_COLUMNS, IMPROVEMENT_COLUMNS
from lamflow.evaluation.results import read_returns
from lamflow.evaluation.summaries import add_normalized, agent_rows, aggregate_rows, group_agents, improvement_rows
from lamflow.provenance import record_provenance, write_text


def summarise(
    *,
    returns: Sequence[Path | str],
    output_returns: Path | str,
    output_aggregate: Path | str,
    bootstrap_samples: int,
    output_improvement: Path | str | None = None,
) -> None:
    """Write the table of agents, the aggregates with intervals and, if asked for, the probabilities of improvement.

    ``returns``: every agent job's ``returns.csv``. The rows with env ``all`` aggregate over environments, for the methods that
    ran on each of them. ValueError when the files are malformed, mixed or incomplete; nothing is written then.
    """
    started = time.monotonic()
    paths = [Path(path) for path in returns]
    episodes = add_normalized(read_returns(paths))
    strata = group_agents(episodes, samples=bootstrap_samples)
    tables = {
        output_returns: (AGENT_COLUMNS, agent_rows(episodes)),
        output_aggregate: (AGGREGATE_COLUMNS, aggregate_rows(strata)),
    }
    if output_improvement:
        tables[output_improvement] = (IMPROVEMENT_COLUMNS, improvement_rows(strata))
    for output, (columns, rows) in tables.items():
        _write(Path(output), columns, rows)
        _record(Path(output), paths, {"bootstrap_samples": bootstrap_samples}, started)


def summarise_agents(*, returns: Sequence[Path | str], output: Path | str) -> None:
    """Write the table of agents alone, for the results of one environment or one seed (columns of ``summary/returns.csv``)."""
    started = time.monotonic()
    paths = [Path(path) for path in returns]
    _write(Path(output), AGENT_COLUMNS, agent_rows(add_normalized(read_returns(paths))))
    _record(Path(output), paths, {}, started)


def _write(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as CSV, atomically; numbers with six significant digits."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([f"{row[name]:.6g}" if isinstance(row[name], float) else row[name] for name in columns])
    write_text(path, buffer.getvalue())


def _record(output: Path, returns: Sequence[Path], settings: Mapping[str, Any], started: float) -> None:
    record_provenance(
        output,
        stage=__name__,
        settings=settings,
        inputs={str(path): path for path in returns},
        seed=None,
        wall_seconds=time.monotonic() - started,
    )
