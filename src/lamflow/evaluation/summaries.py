"""From episodes to the summary tables: one row an agent, one row a method and label budget, one row a pair of methods."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Container, Iterator, Mapping, Sequence
from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lamflow.data.label_budgets import REFERENCE_LABELS, LabelBudget
from lamflow.evaluation import statistics
from lamflow.evaluation.normalisers import Normaliser
from lamflow.evaluation.results import EVERY_ENV, whole_of
from lamflow.evaluation.settings import SPLITS_PLAYED

log = logging.getLogger(__name__)

_BOOTSTRAP_SEED = 0

Row = dict[str, Any]
Shared = tuple[tuple[int, ...], tuple[int, ...], int]
"""What two groups have both: seeds, label draws, and the number of episodes an agent."""


def unnormalised(
    table: pd.DataFrame, column: str = "return", errors: Mapping[str, float] | None = None
) -> dict[str, str]:
    """The environments whose returns (``column``) cannot be normalised, each with the reason.

    ``errors``: the standard error of the difference of the references of each environment where that was measured.
    """
    problems = {}
    for env, rows in table.groupby("env", sort=False):
        random, expert = float(rows["return_random"].iloc[0]), float(rows["return_expert"].iloc[0])
        normaliser = Normaliser(random, expert, (errors or {}).get(str(env)))
        if problem := normaliser.problem(typical=float(rows[column].abs().mean())):
            problems[str(env)] = problem
    return problems


def add_normalized(table: pd.DataFrame, left_out: Container[str] = (), column: str = "return") -> pd.DataFrame:
    """The table with the column ``normalized``, see ``statistics.normalized_return``: NaN in the environments ``left_out``.

    ValueError names the environment.
    """
    parts = []
    for env, rows in table.groupby("env", sort=False):
        if env in left_out:
            parts.append(rows.assign(normalized=np.nan))
            continue
        low, high = rows["return_random"].iloc[0], rows["return_expert"].iloc[0]
        try:
            values = statistics.normalized_return(rows[column], random=low, expert=high)
        except ValueError as error:
            raise ValueError(f"environment {env}: {error}") from None
        parts.append(rows.assign(normalized=values))
    return pd.concat(parts)


def drop_unnormalised(table: pd.DataFrame, problems: Mapping[str, str]) -> pd.DataFrame:
    """The rows of the environments without a problem, perhaps none; says what is left out."""
    for env, problem in problems.items():
        log.warning("%s is left out of what is normalised: %s", env, problem)
    kept = table[~table["env"].isin(problems)]
    if kept.empty:
        log.warning(
            "there is nothing to normalise by: raw returns are all that can be shown. Train a better demonstrator, or measure it and "
            "random on more episodes (collection.reference_episodes)"
        )
    return kept


def agent_rows(episodes: pd.DataFrame, bounds: Mapping[str, tuple[float, float]] | None = None) -> list[Row]:
    """Columns ``columns.AGENT_COLUMNS``; ``return_std`` is that of the agent's raw returns over its episodes (population form).

    ``normalized_return_cobbe`` is normalised by published ``bounds`` (min, max) of each environment, for Procgen the constants of Cobbe et
    al., None where there are none; ``normalized_return`` is None where the environment was left out of normalisation.
    """
    keys = ["env", "method", "labels", "label_draw", "seed", "policy_episodes", "split"]
    rows = []
    for values, agent in episodes.groupby(keys, sort=False):
        measured = {
            "episodes": len(agent),
            "return_mean": agent["return"].mean(),
            "return_std": agent["return"].std(ddof=0),
            "normalized_return": None if agent["normalized"].isna().all() else agent["normalized"].mean(),
            "normalized_return_cobbe": _normalized_by(
                (bounds or {}).get(str(agent["env"].iloc[0])), agent["return"].mean()
            ),
            "success_rate": agent["success"].mean(),
        }
        rows.append(dict(zip(keys, values, strict=True)) | measured)
    return sorted(
        rows,
        key=lambda row: (
            *(row["env"], row["method"], LabelBudget.parse(row["labels"]), row["label_draw"], row["seed"]),
            SPLITS_PLAYED.index(row["split"]),
        ),
    )


def _normalized_by(bounds: tuple[float, float] | None, return_mean: float) -> float | None:
    if bounds is None:
        return None
    low, high = bounds
    return float(statistics.normalized_return(return_mean, random=low, expert=high))


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
        self.policy_episodes = str(rows["policy_episodes"].iloc[0])
        self.seeds, self.draws = (tuple(counts.index.unique(level).tolist()) for level in range(2))
        ordered = rows.sort_values(["seed", "label_draw", "episode"])
        self.episodes = self._stratum(ordered["normalized"])
        # The seed depends on the name alone, so a method added to an experiment leaves the others' intervals as they were.
        seed = (_BOOTSTRAP_SEED, zlib.crc32(name.encode()))
        self._samples = samples
        self.normalized = statistics.resample(self.episodes, samples=samples, seed=(*seed, 0))
        self.success = statistics.resample(self._stratum(ordered["success"]), samples=samples, seed=(*seed, 1))
        # Without the method's name: two groups of an environment and label budget draw the same seeds, draws and episodes.
        alike = f"{rows['env'].iloc[0]}, labels {rows['labels'].iloc[0]}"
        self._paired_seed = (_BOOTSTRAP_SEED, zlib.crc32(alike.encode()), 2)
        self._paired: dict[Shared, statistics.Resampled] = {}

    def paired(self, shared: Shared) -> statistics.Resampled:
        """The agents of the shared seeds and draws on the shared episodes, resampled as any other group of the environment and budget."""
        if shared not in self._paired:
            seeds, draws, num_episodes = shared
            rows = np.flatnonzero(np.isin(self.seeds, seeds))
            columns = np.flatnonzero(np.isin(self.draws, draws))
            episodes = self.episodes[np.ix_(rows, columns)][..., :num_episodes]
            self._paired[shared] = statistics.resample(episodes, samples=self._samples, seed=self._paired_seed)
        return self._paired[shared]

    def _stratum(self, ordered: pd.Series) -> NDArray[np.float64]:
        return ordered.to_numpy(float).reshape(self.num_seeds, self.num_draws, -1)


Strata = dict[str, dict[tuple[str, str], list[Group]]]
"""env (or ``all``, or one that is made of others) -> (method, labels) -> one group per environment that was played."""


def group_agents(episodes: pd.DataFrame, *, samples: int) -> Strata:
    """The groups of each environment, with ``samples`` bootstrap resamples; of one that is made of others, those of each of these, and its
    own name has what was measured in every one of them. For two environments or more so has ``all``."""
    strata: Strata = {}
    for (env, method, labels), rows in episodes.groupby(["env", "method", "labels"], sort=False):
        group = Group(f"{env}, {method}, labels {labels}", rows, samples=samples)
        strata.setdefault(env, {})[method, labels] = [group]
    strata = {env: dict(sorted(strata[env].items(), key=lambda item: _order(*item[0]))) for env in sorted(strata)}
    wholes = {whole_of(env) for env in strata if whole_of(env) != env}
    joined = {env: _joined({name: strata[name] for name in strata if whole_of(name) == env}, env) for env in wholes}
    everywhere = {EVERY_ENV: _joined(strata, "all environments")} if len(strata) > 1 else {}
    return dict(sorted((strata | joined).items())) | everywhere


def _joined(strata: Strata, name: str) -> dict[tuple[str, str], list[Group]]:
    """What was measured in every one of some environments, a group of each."""
    measured = [set(groups) for groups in strata.values()]
    everywhere = sorted(set.intersection(*measured), key=lambda key: _order(*key))
    if partial := {method for method, _ in set.union(*measured) - set(everywhere)}:
        log.warning("left out of the rows of %s, as it lacks some: %s", name, ", ".join(sorted(partial)))
    return {key: [groups[key][0] for groups in strata.values()] for key in everywhere}


def _order(method: str, labels: str) -> tuple[str, LabelBudget]:
    return method, LabelBudget.parse(labels)


def aggregate_rows(strata: Strata) -> list[Row]:
    """Columns ``columns.AGGREGATE_COLUMNS`` but the split; ``episodes`` is the number of all episodes behind the row."""
    rows = []
    for env, budgets in strata.items():
        for (method, labels), groups in budgets.items():
            counts: Row = {
                "num_seeds": min(group.num_seeds for group in groups),
                "num_draws": min(group.num_draws for group in groups),
                "episodes": sum(group.num_episodes for group in groups),
            }
            names = {"env": env, "method": method, "labels": labels, "policy_episodes": groups[0].policy_episodes}
            rows.append(names | counts | _estimates(groups))
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
    """Columns ``columns.IMPROVEMENT_COLUMNS`` but the split: each ordered pair of methods that were given the same number of labels."""
    rows = []
    for names, ours, theirs in _pairs(strata):
        found = statistics.estimate_improvement(
            [group.normalized for group in ours], [group.normalized for group in theirs]
        )
        rows.append(names | {"probability": found.value, "low": found.low, "high": found.high})
    return rows


def difference_rows(strata: Strata) -> list[Row]:
    """Columns ``columns.DIFFERENCE_COLUMNS`` but the split: each ordered pair of methods that were given the same number of labels.

    Agents of the same environment, seed and label draw are compared, where both methods have them, on the episodes that both have: those
    of a seed play the same levels with the same labels. Pairs that share no agent in some environment have no row.
    """
    rows = []
    for names, ours, theirs in _pairs(strata):
        shared = [_shared(a, b) for a, b in zip(ours, theirs, strict=True)]
        if not all(seeds and draws for seeds, draws, _ in shared):
            continue
        found = statistics.estimate(
            statistics.stratified_mean,
            [
                statistics.difference(a.paired(both), b.paired(both))
                for a, b, both in zip(ours, theirs, shared, strict=True)
            ],
        )
        counts = {"num_seeds": min(len(both[0]) for both in shared), "num_draws": min(len(both[1]) for both in shared)}
        rows.append(names | counts | {"difference": found.value, "low": found.low, "high": found.high})
    return rows


def _pairs(strata: Strata) -> Iterator[tuple[Row, list[Group], list[Group]]]:
    """Each ordered pair of methods of one environment and label budget: its names, and the groups of both."""
    for env, budgets in strata.items():
        for labels in sorted({labels for _, labels in budgets}, key=LabelBudget.parse):
            sides = {method: groups for (method, given), groups in budgets.items() if given == labels}
            for method, baseline in permutations(sides, 2):
                names = {"env": env, "labels": labels, "method": method, "baseline": baseline}
                yield names, sides[method], sides[baseline]


def _shared(ours: Group, theirs: Group) -> Shared:
    seeds = tuple(seed for seed in ours.seeds if seed in theirs.seeds)
    draws = tuple(draw for draw in ours.draws if draw in theirs.draws)
    return seeds, draws, min(ours.episodes.shape[-1], theirs.episodes.shape[-1])


def profile_rows(strata: Strata, *, labels: str) -> list[Row]:
    """Columns ``columns.PROFILE_COLUMNS`` but the split for the methods with ``labels`` labels and those with no number of labels."""
    shown = {
        (env, method, given): [group.normalized for group in groups]
        for env, budgets in strata.items()
        for (method, given), groups in budgets.items()
        if given in (labels, *REFERENCE_LABELS)
    }
    thresholds = _thresholds([stratum.scores for groups in shown.values() for stratum in groups])
    rows = []
    for (env, method, given), groups in shown.items():
        band = statistics.estimate_profile(groups, thresholds)
        for values in np.stack([thresholds, band.value, band.low, band.high], axis=1).tolist():
            names = {"env": env, "method": method, "labels": given}
            rows.append(names | dict(zip(("threshold", "fraction", "low", "high"), values, strict=True)))
    return rows


def _thresholds(scores: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """From the lowest score to the highest, 0 and 1 included and no more than 1 beyond them, in steps of a hundredth."""
    lowest = min((stratum.min() for stratum in scores), default=0.0)
    highest = max((stratum.max() for stratum in scores), default=1.0)
    first, last = np.floor(10 * np.clip(lowest, -1, 0)), np.ceil(10 * np.clip(highest, 1, 2))
    steps: NDArray[np.float64] = np.arange(10 * first, 10 * last + 1) / 100
    return steps
