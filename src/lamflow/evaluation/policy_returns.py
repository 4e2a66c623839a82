"""Returns of policies while they train: reading and checking of their ``curve.csv``, and their means with intervals over seeds."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lamflow.data.label_budgets import LabelBudget
from lamflow.evaluation.cells import read_table, to_numbers
from lamflow.evaluation.columns import POLICY_CURVE_COLUMNS, POLICY_RETURNS_COLUMNS
from lamflow.evaluation.results import check_env
from lamflow.evaluation.statistics import estimate_curve
from lamflow.evaluation.summaries import add_normalized, drop_unnormalised, unnormalised

_AGENT = ["labels", "label_draw", "step"]


def read_policy_curve(path: Path) -> pd.DataFrame:
    """One policy's ``curve.csv``, typed and checked: a single environment, method and seed, no agent twice at a step.

    ValueError names the file.
    """
    table = read_table(path, POLICY_CURVE_COLUMNS)
    for column in ("env", "method", "seed", "policy_episodes", "split", "return_random", "return_expert"):
        if table[column].nunique() > 1:
            raise ValueError(
                f"{path}: column {column} holds {', '.join(sorted(table[column].unique()))}; one file holds one training"
            )
    check_env(table["env"].iloc[0], path)
    to_numbers(table, ("seed", "label_draw"), int, path, least=0)
    to_numbers(table, ("step", "episodes"), int, path, least=1)
    to_numbers(table, ("return_mean", "success_rate", "return_random", "return_expert"), float, path)
    for line, labels in table["labels"].drop_duplicates().items():
        try:
            LabelBudget.parse(labels)
        except ValueError as error:
            raise ValueError(f"{path}: line {int(str(line)) + 2}, column labels: {error}") from None
    if (repeated := table.duplicated(_AGENT)).any():
        row = table[repeated].iloc[0]
        raise ValueError(
            f"{path}: labels {row['labels']}, label draw {row['label_draw']}: step {row['step']} is there twice"
        )
    return table


def policy_returns(paths: Sequence[Path], errors: Mapping[str, float] | None = None, *, samples: int) -> pd.DataFrame:
    """Columns ``columns.POLICY_RETURNS_COLUMNS``: means over seeds and label draws, with 95% intervals over seeds.

    The interval resamples seeds, each with the mean over its label draws, the same ones for all steps. Where an environment cannot be
    normalised, ``mean``, ``low`` and ``high`` are empty. ``errors``: of the references, as ``references.reference_errors``. ValueError when
    there is no file, a file is malformed, two hold the same training, or the seeds of a method were not evaluated alike.
    """
    if not paths:
        raise ValueError("no curve.csv files were given; at least one is needed")
    tables, seen = [], dict[tuple[str, str, int], Path]()
    for path in paths:
        table = read_policy_curve(path)
        env, method, seed = (table[column].iloc[0] for column in ("env", "method", "seed"))
        if (first := seen.setdefault((env, method, seed), path)) is not path:
            raise ValueError(f"{path}: holds {env}, {method}, seed {seed}, which {first} holds as well")
        tables.append(table)
    curves = pd.concat(tables, ignore_index=True)
    left_out = unnormalised(curves, "return_mean", errors)
    drop_unnormalised(curves, left_out)  # says what has no normalised returns
    curves = add_normalized(curves, left_out, column="return_mean")
    rows = []
    for (env, method, labels), group in curves.groupby(["env", "method", "labels"], sort=False):
        rows.append(_estimates(group, samples, f"{env}, {method}, labels {labels}"))
    return pd.concat(rows, ignore_index=True)[list(POLICY_RETURNS_COLUMNS)]


def _estimates(group: pd.DataFrame, samples: int, name: str) -> pd.DataFrame:
    """The rows of one environment, method and label budget."""
    agents = group.pivot(index=["seed", "label_draw"], columns="step", values=["return_mean", "normalized", "episodes"])
    if agents["episodes"].isna().any(axis=None) or len(set(agents.groupby(level="seed").size())) > 1:
        raise ValueError(
            f"{name}: the seeds were not evaluated at the same steps with the same label draws: train these policies again with the same "
            "settings"
        )
    seeds = agents.groupby(level="seed").mean()
    normalized = seeds["normalized"].to_numpy(float)
    band = estimate_curve([normalized], samples=samples, seeds=[(0, zlib.crc32(f"{name}, training".encode()))])
    columns = {
        "step": seeds["normalized"].columns.to_numpy(np.int64),
        "num_seeds": len(seeds),
        "num_draws": len(agents) // len(seeds),
        "episodes": agents["episodes"].sum().to_numpy(np.int64),
        "return_mean": seeds["return_mean"].mean().to_numpy(float),
        "mean": band.value,
        "low": band.low,
        "high": band.high,
    }
    first = group.iloc[0]
    return pd.DataFrame(columns).assign(
        **{name: first[name] for name in ("env", "method", "labels", "policy_episodes", "split")}
    )


def read_policy_returns(path: Path) -> pd.DataFrame:
    """``summary/policy_returns.csv``, typed, without the rows that could not be normalised; ValueError when it is malformed."""
    table = read_table(path, POLICY_RETURNS_COLUMNS)
    table = table[table["mean"] != ""].reset_index(drop=True)
    text = ("env", "method", "labels", "policy_episodes", "split")
    to_numbers(table, [column for column in POLICY_RETURNS_COLUMNS if column not in text], float, path)
    return table
