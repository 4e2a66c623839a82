"""The rules ``summarise`` and ``summarise_agents``: agents' episodes to tables of agents, aggregates and comparisons."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from lamflow.atomic_files import write_text
from lamflow.code_digests import Code
from lamflow.evaluation.columns import (
    AGENT_COLUMNS,
    AGGREGATE_COLUMNS,
    DIFFERENCE_COLUMNS,
    IMPROVEMENT_COLUMNS,
    PROFILE_COLUMNS,
)
from lamflow.evaluation.csv_text import rounded_csv_text
from lamflow.evaluation.references import published_bounds, reference_errors
from lamflow.evaluation.results import read_returns
from lamflow.evaluation.settings import HEADLINE, SPLITS_PLAYED
from lamflow.evaluation.summaries import (
    Row,
    Strata,
    add_normalized,
    agent_rows,
    aggregate_rows,
    difference_rows,
    drop_unnormalised,
    group_agents,
    improvement_rows,
    profile_rows,
    unnormalised,
)
from lamflow.evaluation.tables import returns_table, to_csv, to_latex, to_markdown
from lamflow.provenance import record_provenance

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
    episodes: Sequence[Path | str] = (),
) -> None:
    """Write the table of agents, the aggregates, the comparisons of pairs of methods, all with intervals, and the performance profiles.

    ``returns``: every agent job's ``returns.csv``. The rows with env ``all`` aggregate over environments, for the methods that
    ran on each of them. ``labels``: the budget of the profiles and of ``output_tables``, the printed table (.csv, .md or .tex).
    ``episodes``: the environments' test stores, which know the errors of the references, and published returns.
    Each split that was played has rows of its own. An environment whose references cannot normalise has raw returns only, in the tables of
    agents and of returns, which says why; the other tables have no row of it. ValueError when the files are malformed, mixed or incomplete;
    nothing is written then.
    """
    started = time.monotonic()
    paths = [Path(path) for path in returns]
    played = read_returns(paths)
    left_out = unnormalised(played[played["split"] == HEADLINE], errors=reference_errors(episodes))
    normalized = drop_unnormalised(add_normalized(played, left_out), left_out)
    splits = [split for split in SPLITS_PLAYED if split in set(played["split"])]
    strata = _by_split(normalized, splits, bootstrap_samples)
    tables = {
        output_returns: (AGENT_COLUMNS, agent_rows(add_normalized(played, left_out), published_bounds(episodes))),
        output_aggregate: (AGGREGATE_COLUMNS, _of_splits(strata, aggregate_rows)),
        output_improvement: (IMPROVEMENT_COLUMNS, _of_splits(strata, improvement_rows)),
        output_differences: (DIFFERENCE_COLUMNS, _of_splits(strata, difference_rows)),
        output_profile: (PROFILE_COLUMNS, _of_splits(strata, partial(profile_rows, labels=str(labels)))),
    }
    texts = {output: rounded_csv_text(columns, rows) for output, (columns, rows) in tables.items()}
    raw = played[played["env"].isin(left_out)]
    raw_strata = _by_split(raw.assign(normalized=raw["return"]), splits, bootstrap_samples)
    references = _references(normalized)
    printed = {
        split: returns_table(strata[split], references, labels=str(labels), raw=raw_strata[split], left_out=left_out)
        for split in strata
    }
    table = printed.pop(HEADLINE)
    for split, other in printed.items():
        table = table.beside(other, split)
    texts |= {output: TABLE_FORMATS[Path(output).suffix](table) for output in output_tables}
    settings = {"bootstrap_samples": bootstrap_samples, "labels": str(labels)} | (
        {"left_out": left_out} if left_out else {}
    )
    for output, text in texts.items():
        write_text(Path(output), text)
    for output in {Path(output).with_suffix(""): Path(output) for output in reversed(texts)}.values():
        _record(output, paths, settings, started)  # once for the formats of one table


def summarise_agents(*, returns: Sequence[Path | str], output: Path | str, episodes: Sequence[Path | str] = ()) -> None:
    """Write the table of agents alone, for the results of one environment or one seed (columns of ``summary/returns.csv``).

    ``episodes``: as above. The normalised returns of an environment that cannot be normalised are empty.
    """
    started = time.monotonic()
    paths = [Path(path) for path in returns]
    played = read_returns(paths)
    left_out = unnormalised(played[played["split"] == HEADLINE], errors=reference_errors(episodes))
    write_text(
        Path(output),
        rounded_csv_text(AGENT_COLUMNS, agent_rows(add_normalized(played, left_out), published_bounds(episodes))),
    )
    _record(Path(output), paths, {"left_out": left_out} if left_out else {}, started)


def _by_split(episodes: pd.DataFrame, splits: Sequence[str], samples: int) -> dict[str, Strata]:
    """The groups of each split: its intervals do not depend on whether others were played."""
    return {split: group_agents(episodes[episodes["split"] == split], samples=samples) for split in splits}


def _of_splits(strata: Mapping[str, Strata], rows_of: Callable[[Strata], list[Row]]) -> list[Row]:
    """The rows of each split, test levels first."""
    return [row | {"split": split} for split, groups in strata.items() for row in rows_of(groups)]


def _references(episodes: pd.DataFrame) -> dict[str, tuple[float, float]]:
    by_env = episodes.groupby("env")[["return_random", "return_expert"]].first()
    return {str(env): (float(low), float(high)) for env, low, high in by_env.itertuples()}


def _record(output: Path, returns: Sequence[Path], settings: Mapping[str, Any], started: float) -> None:
    record_provenance(
        output,
        code=Code(__name__),
        settings=settings,
        inputs={str(path): path for path in returns},
        seed=None,
        wall_seconds=time.monotonic() - started,
    )
