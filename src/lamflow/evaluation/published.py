"""Returns that others have published, drawn beside ours: LAPO's on Procgen, ``config/published/lapo_returns.csv``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from lamflow.data.label_budgets import ONLINE_LABELS
from lamflow.envs.presets import preset
from lamflow.evaluation.cells import bad_cell, read_table, to_numbers
from lamflow.evaluation.statistics import normalized_return

OFFLINE = "LAPO (digitised)"
"""Offline decoding with N labels."""
ONLINE = {
    "ppo_scratch_4m": "PPO from scratch (digitised)",
    "lapo_rl_4m": "LAPO RL (digitised)",
    "lapo_rl_sl_4m": "LAPO RL + SL (digitised)",
}
"""Columns of returns after 4 M environment steps, and what is written beside them."""
LABELS = tuple(str(2**power) for power in range(4, 14))
_OFFLINE_COLUMNS = {f"offline_{labels}_labels": labels for labels in LABELS}


def read_published(path: Path) -> pd.DataFrame:
    """The published returns as columns env, method, labels and normalized, one row an environment, method and budget.

    Environments are Procgen's in easy mode, ``procgen-<game>``; returns are normalised by the table's own random and expert.
    ValueError names the file and what is wrong: a malformed cell, an unknown game, one that is there twice, an expert not above random.
    """
    wide = read_table(path, ("game", "random", "expert", *ONLINE, *_OFFLINE_COLUMNS))
    to_numbers(wide, wide.columns[1:].tolist(), float, path)
    if (repeated := wide["game"].duplicated()).any():
        raise bad_cell(path, wide, "game", repeated, "each game once")
    rows = []
    for line, game in enumerate(wide.to_dict("records"), start=2):
        named = {column: (OFFLINE, labels) for column, labels in _OFFLINE_COLUMNS.items()}
        named |= {column: (method, ONLINE_LABELS) for column, method in ONLINE.items()}
        try:
            env = preset(f"procgen-{game['game']}").name
            values = normalized_return([game[column] for column in named], random=game["random"], expert=game["expert"])
        except ValueError as error:
            raise ValueError(f"{path}: line {line}: {error}") from None
        rows += [(env, *given, value) for given, value in zip(named.values(), values.tolist(), strict=True)]
    return pd.DataFrame(rows, columns=["env", "method", "labels", "normalized"])


def published_mean(published: pd.DataFrame, envs: Iterable[str]) -> pd.DataFrame:
    """Mean over ``envs`` of the normalised returns, columns method, labels, normalized; without rows unless all of them are published."""
    wanted = set(envs)
    found = published[published["env"].isin(wanted)]
    if set(found["env"]) != wanted:
        found = found.iloc[:0]
    return found.groupby(["method", "labels"], sort=False, as_index=False)["normalized"].mean()
