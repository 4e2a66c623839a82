"""The results tables: reading and checking of agents' ``returns.csv``, and the order of label budgets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from lamflow.data.label_budgets import LabelBudget
from lamflow.evaluation.cells import bad_cell, read_table, to_numbers
from lamflow.evaluation.columns import (
    AGGREGATE_COLUMNS,
    IMPROVEMENT_COLUMNS,
    OLDER_TABLES,
    PART,
    PROFILE_COLUMNS,
    RETURNS_COLUMNS,
)
from lamflow.evaluation.settings import HEADLINE, SPLITS_PLAYED
from lamflow.settings import NAME_PATTERN

EVERY_ENV = "all"
"""Stands in the column ``env`` for the aggregate over all environments."""
_TEXT = ("env", "method", "labels", "baseline", "policy_episodes", "split")
_EPISODE_COUNT = re.compile(r"(all|[1-9]\d{0,9})?", re.ASCII)
_LEAST = {"seed": 0, "label_draw": 0, "episode": 0, "level_seed": -1, "length": 1}
"""The integer columns, and the lowest number that each may hold."""
_FLOATS = ("return", "return_random", "return_expert")
_SHARES = ("probability", "fraction", "success_rate", "success_low", "success_high")
"""Columns of summaries that hold numbers from 0 to 1."""
_TRUTH = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}


def read_agent_returns(path: Path) -> pd.DataFrame:
    """One ``returns.csv``, typed and checked: a single method, seed and environment (or several that it is made of), budgets that parse, no
    episode twice, all agents of all splits."""
    table = read_table(path, RETURNS_COLUMNS, older=OLDER_TABLES)
    for column in ("env", "method", "seed", "policy_episodes"):
        whole = table[column].map(whole_of) if column == "env" else table[column]
        if whole.nunique() > 1:
            raise ValueError(
                f"{path}: column {column} holds {', '.join(sorted(table[column].unique()))}; one file holds the episodes of one "
                "environment, method and seed"
            )
    check_env(table["env"].iloc[0], path)
    for column, least in _LEAST.items():
        to_numbers(table, (column,), int, path, least=least)
    to_numbers(table, _FLOATS, float, path)
    success = table["success"].str.lower().map(_TRUTH)
    if success.isna().any():
        raise bad_cell(path, table, "success", success.isna(), "True or False")
    table["success"] = success.astype(bool)
    _check_labels(table, path)
    _check_splits(table, path)
    repeated = table.duplicated(["env", "labels", "label_draw", "split", "episode"])
    if repeated.any():
        row = table[repeated].iloc[0]
        raise ValueError(
            f"{path}: line {row.name + 2}: labels {row['labels']}, label draw {row['label_draw']}: episode {row['episode']} is "
            f"there twice in the split {row['split']}"
        )
    return table


def whole_of(env: str) -> str:
    """What the column ``env`` says of an environment, without the one that it is made of."""
    return env.partition(PART)[0]


def check_env(env: str, path: Path) -> None:
    """ValueError unless ``env``, of the first row of the table ``path``, may be the name of an environment, or of one of those that it is
    made of."""
    names = env.split(PART)
    if len(names) > 2 or not all(re.fullmatch(NAME_PATTERN, name) for name in names):
        raise ValueError(f"{path}: line 2, column env: found {env!r}, expected the name of an environment")


def _check_labels(table: pd.DataFrame, path: Path) -> None:
    for line, labels in table["labels"].drop_duplicates().items():
        try:
            LabelBudget.parse(labels)
        except ValueError as error:
            raise ValueError(f"{path}: line {line + 2}, column labels: {error}") from None


def _check_splits(table: pd.DataFrame, path: Path) -> None:
    """ValueError unless the splits, and how many episodes policies were trained on, are what agents write."""
    unknown = ~table["split"].isin(SPLITS_PLAYED)
    if unknown.any():
        raise bad_cell(path, table, "split", unknown, " or ".join(SPLITS_PLAYED))
    counts = ~table["policy_episodes"].str.fullmatch(_EPISODE_COUNT)
    if counts.any():
        raise bad_cell(path, table, "policy_episodes", counts, "a number of episodes, all, or nothing")


def read_returns(paths: Sequence[Path]) -> pd.DataFrame:
    """All agents' episodes: columns ``RETURNS_COLUMNS``, one row an episode.

    ValueError when a file is malformed, when two files hold the same environment, method and seed, or when the files of an
    environment disagree on the returns of random and expert.
    """
    if not paths:
        raise ValueError("no returns.csv files were given; at least one is needed")
    tables: list[pd.DataFrame] = []
    origins: dict[tuple[str, str, int], Path] = {}
    splits: set[str] = set()
    references: dict[tuple[str, str], tuple[float, Path]] = {}
    for path in paths:
        table = read_agent_returns(path)
        env, method, seed = (table[column].iloc[0] for column in ("env", "method", "seed"))
        env = whole_of(env)
        if (first := origins.setdefault((env, method, seed), path)) is not path:
            raise ValueError(
                f"{path}: holds {env}, {method}, seed {seed}, which {first} holds as well; give each result once"
            )
        shown = set(table["split"])
        splits = splits or shown
        if splits != shown or HEADLINE not in shown:
            raise ValueError(
                f"{path}: holds episodes of the split(s) {', '.join(sorted(shown))}, {paths[0]} of {', '.join(sorted(splits))}, expected "
                f"{HEADLINE} in each, and the same in all: evaluate all agents alike"
            )
        for played, column in product(table["env"].unique(), ("return_random", "return_expert")):
            for value in table.loc[table["env"] == played, column].unique():
                known, source = references.setdefault((played, column), (value, path))
                if not np.isclose(known, value):
                    raise ValueError(
                        f"{path}: {column} of {played} is {value:g}, but {source} has {known:g}; they come from different data "
                        "sets: evaluate all agents against the same test split"
                    )
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def read_aggregate(path: Path, split: str | None = HEADLINE) -> pd.DataFrame:
    """``summary/aggregate.csv`` with env, method, labels, policy_episodes and split as text and numbers elsewhere, without a row where no
    environment could be normalised; the rows of one split, or of all for None. ValueError when it is malformed."""
    return _read_summary(path, AGGREGATE_COLUMNS, split)


def read_improvement(path: Path) -> pd.DataFrame:
    """``summary/improvement.csv``, typed like ``read_aggregate``, of test levels."""
    return _read_summary(path, IMPROVEMENT_COLUMNS, HEADLINE)


def read_profile(path: Path) -> pd.DataFrame:
    """``summary/profile.csv``, typed like ``read_aggregate``, of test levels."""
    return _read_summary(path, PROFILE_COLUMNS, HEADLINE)


def _read_summary(path: Path, columns: Sequence[str], split: str | None) -> pd.DataFrame:
    older = {column: cell for column, cell in OLDER_TABLES.items() if column in columns}
    table = read_table(path, columns, least=0, older=older)
    to_numbers(table, [column for column in columns if column not in _TEXT], float, path)
    for column in (name for name in columns if name in _SHARES):
        outside = ~table[column].between(0, 1)
        if outside.any():
            raise bad_cell(path, table, column, outside, "a number from 0 to 1")
    _check_labels(table, path)
    return table if split is None else table[table["split"] == split].reset_index(drop=True)
