"""Tables of how well actions were answered: reading of ``actions.csv``, scores of agents and decoders, and aggregates with intervals.

Shapes: S seeds, D label draws, U episodes, A entries of an action.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lamflow.data.label_budgets import LabelBudget
from lamflow.evaluation import statistics
from lamflow.evaluation.cells import bad_cell, read_table, to_numbers
from lamflow.evaluation.columns import ACTION_AGGREGATE_COLUMNS, ACTIONS_COLUMNS
from lamflow.evaluation.summaries import Row

WHAT = ("agent", "decoder")
"""Who answers: the agent, which sees what was before, or the decoder, which sees the transition itself."""
MEASURES = ("accuracy", "r2")
_COUNTS = {"seed": 0, "label_draw": 0, "episode": 0, "rows": 1, "entry": 0}
_SUMS = ("error", "constant_error", "scale")
_KEYS = ["env", "method", "labels", "what", "measure"]
_AGENT = [*_KEYS, "label_draw", "seed", "policy_episodes"]
_BOOTSTRAP_SEED = 0


def read_action_errors(paths: Sequence[Path]) -> pd.DataFrame:
    """All agents' ``actions.csv``, typed and checked; perhaps no row, where no action was known. ValueError when a file is malformed, or
    when one agent, episode and entry is there twice."""
    if not paths:
        raise ValueError("no actions.csv files were given; at least one is needed")
    found = pd.concat([_read(path) for path in paths], ignore_index=True)
    repeated = found.duplicated([*_AGENT, "episode", "entry"])
    if repeated.any():
        row = found[repeated].iloc[0]
        raise ValueError(
            f"{row['path']}: holds {row['env']}, {row['method']}, seed {row['seed']}, labels {row['labels']}, draw {row['label_draw']}, "
            f"{row['what']}, episode {row['episode']}, which is there twice; give each result once"
        )
    return found.drop(columns="path")


def _read(path: Path) -> pd.DataFrame:
    table = read_table(path, ACTIONS_COLUMNS, least=0)
    for column, least in _COUNTS.items():
        to_numbers(table, (column,), int, path, least=least)
    to_numbers(table, _SUMS, float, path, least=0)
    for column, known in (("what", WHAT), ("measure", MEASURES)):
        unknown = ~table[column].isin(known)
        if unknown.any():
            raise bad_cell(path, table, column, unknown, " or ".join(known))
    for line, labels in table["labels"].drop_duplicates().items():
        try:
            LabelBudget.parse(labels)
        except ValueError as error:
            raise ValueError(f"{path}: line {line + 2}, column labels: {error}") from None
    return table.assign(path=str(path))


def score_rows(errors: pd.DataFrame) -> list[Row]:
    """Columns ``columns.ACTION_SCORE_COLUMNS`` of what ``read_action_errors`` answered; ``constant``: the score of the best answer that is
    always the same."""
    rows = []
    for names, agent in errors.groupby(_AGENT, sort=False):
        rows.append(
            dict(zip(_AGENT, names, strict=True))
            | _counts(agent)
            | {"score": _score(agent, "error"), "constant": _score(agent, "constant_error")}
        )
    return sorted(rows, key=lambda row: (*_order(row), row["label_draw"], row["seed"]))


def aggregate_rows(errors: pd.DataFrame, *, samples: int) -> list[Row]:
    """Columns ``columns.ACTION_AGGREGATE_COLUMNS``: the mean over seeds and draws with its 95% interval, of ``samples`` resamples of seeds,
    draws and recorded episodes. ValueError when not all seeds have the same draws, or agents the same episodes."""
    rows = []
    for names, group in errors.groupby(_KEYS, sort=False):
        found = dict(zip(_KEYS, names, strict=True))
        name = f"{found['env']}, {found['method']}, labels {found['labels']}, {found['what']}"
        sums = {column: _stratum(name, group, column) for column in ("error", "scale")}
        seed = (_BOOTSTRAP_SEED, zlib.crc32(name.encode()))
        resampled = statistics.resample_scores(sums["error"], sums["scale"], samples=samples, seed=seed)
        estimate = statistics.estimate(statistics.stratified_mean, [resampled])
        num_seeds, num_draws = sums["error"].shape[:2]
        measured = {"score": estimate.value, "low": estimate.low, "high": estimate.high}
        one = group[(group["seed"] == group["seed"].iloc[0]) & (group["label_draw"] == group["label_draw"].iloc[0])]
        rows.append(
            found
            | {"policy_episodes": group["policy_episodes"].iloc[0], "num_seeds": num_seeds, "num_draws": num_draws}
            | _counts(one)
            | measured
            | {"constant": _score(one, "constant_error")}
        )
    return sorted(rows, key=_order)


def read_action_aggregate(path: Path) -> pd.DataFrame:
    """``summary/action_aggregate.csv``, typed; perhaps no row. ValueError when it is malformed."""
    table = read_table(path, ACTION_AGGREGATE_COLUMNS, least=0)
    to_numbers(table, ("score", "low", "high", "constant"), float, path)
    to_numbers(table, ("num_seeds", "num_draws", "episodes", "rows"), int, path, least=1)
    return table


def _order(row: Row) -> tuple[str, str, LabelBudget, str]:
    return row["env"], row["method"], LabelBudget.parse(row["labels"]), row["what"]


def _counts(agent: pd.DataFrame) -> Row:
    """Recorded episodes and rows with a known action."""
    first = agent[agent["entry"] == agent["entry"].iloc[0]]
    return {"episodes": len(first), "rows": int(first["rows"].sum())}


def _score(agent: pd.DataFrame, column: str) -> float:
    sums = agent.groupby("entry")[[column, "scale"]].sum()
    return float(statistics.scores_of(sums[column].to_numpy(), sums["scale"].to_numpy()))


def _stratum(name: str, group: pd.DataFrame, column: str) -> NDArray[np.float64]:
    """float64 [S, D, U, A] of one environment, method and label budget."""
    table = group.pivot_table(index=["seed", "label_draw"], columns=["episode", "entry"], values=column, aggfunc="sum")
    shape = [table.axes[axis].get_level_values(level).nunique() for axis in (0, 1) for level in (0, 1)]
    if table.size != np.prod(shape) or table.isna().to_numpy().any():
        raise ValueError(
            f"{name}: every seed needs the same label draws and every agent the same recorded episodes; score the missing agents again, or "
            "leave out results of another experiment"
        )
    return table.to_numpy(float).reshape(shape)


def measures_of(table: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Each environment of a table of scores, and what is measured of its actions."""
    yield from dict(zip(table["env"], table["measure"], strict=True)).items()
