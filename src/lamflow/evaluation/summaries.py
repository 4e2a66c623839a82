"""From episodes to the summary tables: one row an agent, one row a method and label budget, one row a pair of methods."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lamflow.catalogue import environment_spec
from lamflow.evaluation import statistics
from lamflow.evaluation.results import EVERY_ENV, label_order

log = logging.getLogger(__name__)

SPLIT = "test"
"""Agents are evaluated on levels of the test split only."""
_BOOTSTRAP_SEED = 0

Row = dict[str, Any]


def add_normalized(episodes: pd.DataFrame) -> pd.DataFrame:
    """The episodes with the column ``normalized``, see ``statistics.normalized_return``; ValueError names the environment."""
    parts = []
    for env, rows in episodes.groupby("env", sort=False):
        low, high = rows["return_random"].iloc[0], rows["return_expert"].iloc[0]
        try:
            values = statistics.normalized_return(rows["return"], random=low, expert=high)
        except ValueError as error:
            raise ValueError(f"environment {env}: {error}") from None
        parts.append(rows.assign(normalized=values))
    return pd.concat(parts)


def agent_rows(episodes: pd.DataFrame) -> list[Row]:
    """Columns ``columns.AGENT_COLUMNS``; ``return_std`` is that of the agent's raw returns over its episodes (population form).

    ``normalized_return_cobbe`` is normalised by the constants of Cobbe et al. (``EnvironmentSpec.return_bounds``), None where
    they have none for the environment.
    """
    keys = ["env", "method", "labels", "label_draw", "seed"]
    rows = []
    for values, agent in episodes.groupby(keys, sort=False):
        measured = {
            "split": SPLIT,
            "episodes": len(agent),
            "return_mean": agent["return"].mean(),
            "return_std": agent["return"].std(ddof=0),
            "normalized_return": agent["normalized"].mean(),
            "normalized_return_cobbe": _normalized_by_bounds(str(agent["env"].iloc[0]), agent["return"].mean()),
            "success_rate": agent["success"].mean(),
        }
        rows.append(dict(zip(keys, values, strict=True)) | measured)
    return sorted(
        rows, key=lambda row: (row["env"], row["method"], label_order(row["labels"]), row["label_draw"], row["seed"])
    )


def _normalized_by_bounds(env: str, return_mean: float) -> float | None:
    bounds = environment_spec(env).return_bounds
    return (
        None if bounds is None else float(statistics.normalized_return(return_mean, random=bounds[0], expert=bounds[1]))
    )


class Group:
    """The agents of one environment, method and label budget, with their bootstrap resamples.

    ``rows``: their episodes. ValueError when not all seeds have the same label draws, or agents the same number of episodes.
    """

    def __init__(self, name: str, rows: pd.DataFrame, *, samples: int) -> None:
        counts = rows.groupby(["seed", "label_draw"]).size()
        self.num_seeds, self.num_draws = (int(counts.index.get_level_values(level).nunique()) for level in range(2))
        if len(counts) != self.num_seeds * self.num_draws or counts.nunique() > 1:
            found = ", ".join(f"seed {seed} draw {draw}: {count}" for (seed, draw), count in counts.items())
            raise ValueError(
                f"{name}: every seed needs the same label draws and every agent the same number of episodes; found episodes "
                f"for {found}; evaluate the missing agents, or leave out results of another experiment"
            )
        self.num_episodes = len(rows)
        ordered = rows.sort_values(["seed", "label_draw", "episode"])
        # The seed depends on the name alone, so a method added to an experiment leaves the others' intervals as they were.
        seed = (_BOOTSTRAP_SEED, zlib.crc32(name.encode()))
        self.normalized = statistics.resample(self._stratum(ordered["normalized"]), samples=samples, seed=(*seed, 0))
        self.success = statistics.resample(self._stratum(ordered["success"]), samples=samples, seed=(*seed, 1))

    def _stratum(self, ordered: pd.Series) -> NDArray[np.float64]:
        return ordered.to_numpy(float).reshape(self.num_seeds, self.num_draws, -1)


Strata = dict[str, dict[tuple[str, str], list[Group]]]
"""env (or ``all``) -> (method, labels) -> one group an environment."""


def group_agents(episodes: pd.DataFrame, *, samples: int) -> Strata:
    """The groups of each environment, with ``samples`` bootstrap resamples; for two environments or more also ``all``, which
    holds what was measured in every one of them."""
    strata: Strata = {}
    for (env, method, labels), rows in episodes.groupby(["env", "method", "labels"], sort=False):
        group = Group(f"{env}, {method}, labels {labels}", rows, samples=samples)
        strata.setdefault(env, {})[method, labels] = [group]
    strata = {env: dict(sorted(strata[env].items(), key=lambda item: _order(*item[0]))) for env in sorted(strata)}
    if len(strata) > 1:
        measured = [set(groups) for groups in strata.values()]
        everywhere = sorted(set.intersection(*measured), key=lambda key: _order(*key))
        if partial := {method for method, _ in set.union(*measured) - set(everywhere)}:
            log.warning("left out of the rows of all environments, as it lacks some: %s", ", ".join(sorted(partial)))
        strata = strata | {EVERY_ENV: {key: [groups[key][0] for groups in strata.values()] for key in everywhere}}
    return strata


def _order(method: str, labels: str) -> tuple[str, tuple[int, int]]:
    return method, label_order(labels)


def aggregate_rows(strata: Strata) -> list[Row]:
    """Columns ``columns.AGGREGATE_COLUMNS``; ``episodes`` is the number of all episodes behind the row."""
    rows = []
    for env, budgets in strata.items():
        for (method, labels), groups in budgets.items():
            counts: Row = {
                "num_seeds": min(group.num_seeds for group in groups),
                "num_draws": min(group.num_draws for group in groups),
                "episodes": sum(group.num_episodes for group in groups),
            }
            rows.append({"env": env, "method": method, "labels": labels} | counts | _estimates(groups))
    return rows


def _estimates(groups: list[Group]) -> dict[str, float]:
    returns, successes = [group.normalized for group in groups], [group.success for group in groups]
    mean = statistics.estimate(statistics.stratified_mean, returns)
    iqm = statistics.estimate(statistics.stratified_iqm, returns)
    success = statistics.estimate(statistics.stratified_mean, successes)
    return {
        "mean": mean.value, "mean_low": mean.low, "mean_high": mean.high,
        "iqm": iqm.value, "iqm_low": iqm.low, "iqm_high": iqm.high,
        "success_rate": success.value, "success_low": success.low, "success_high": success.high,
    }  # fmt: skip


def improvement_rows(strata: Strata) -> list[Row]:
    """Columns ``columns.IMPROVEMENT_COLUMNS``: each ordered pair of methods that were given the same number of labels."""
    rows = []
    for env, budgets in strata.items():
        for labels in sorted({labels for _, labels in budgets}, key=label_order):
            sides: Mapping[str, list[Group]] = {
                method: groups for (method, given), groups in budgets.items() if given == labels
            }
            for method, baseline in ((a, b) for a in sides for b in sides if a != b):
                found = statistics.estimate_improvement(
                    [group.normalized for group in sides[method]], [group.normalized for group in sides[baseline]]
                )
                row = {"env": env, "labels": labels, "method": method, "baseline": baseline}
                rows.append(row | {"probability": found.value, "low": found.low, "high": found.high})
    return rows
