"""Returns of trainings online: reading and checking of their ``curve.csv``, and their means with intervals over seeds."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lamflow.evaluation.cells import LARGEST_NUMBER, bad_cell, parsed, read_table, to_numbers
from lamflow.evaluation.columns import CURVE_COLUMNS, EFFICIENCY_COLUMNS, ONLINE_COLUMNS
from lamflow.evaluation.results import EVERY_ENV, check_env
from lamflow.evaluation.statistics import Floats, estimate_curve
from lamflow.evaluation.summaries import add_normalized, drop_unnormalised, unnormalised

MOST_POINTS = 100
"""Points of a curve; the episodes of more rows are pooled."""
LEAST_EPISODES = 20
"""Episodes of a seed behind a point of its curve."""
CONVERGED_WITHIN = 0.05
"""Normalised return below its final value at which a curve counts as converged."""
FINAL_SHARE = 0.1
"""Of a curve's steps, at its end, whose mean is its final value."""
EARLY_SHARE = 0.1
"""Of the steps until a baseline's convergence, at which others are compared with it."""


def read_online_curve(path: Path) -> pd.DataFrame:
    """One run's ``curve.csv``, typed and checked; ``return_mean`` is NaN where no episode began.

    ValueError names the file: for a malformed table, several runs in one file, environment steps that do not grow, references that
    change, and rows with episodes but no return.
    """
    table = read_table(path, CURVE_COLUMNS)
    for column in ("env", "method", "seed", "return_random", "return_expert"):
        if table[column].nunique() > 1:
            raise ValueError(
                f"{path}: column {column} holds {', '.join(sorted(table[column].unique()))}; one file holds one run"
            )
    check_env(table["env"].iloc[0], path)
    to_numbers(table, ("seed", "env_steps", "episodes"), int, path, least=0)
    to_numbers(table, ("return_random", "return_expert"), float, path)
    returns = parsed(table["return_mean"])
    empty = table["return_mean"].str.strip().str.lower().isin(("", "nan"))
    for wrong, expected in (
        (~empty & ~(returns.abs() <= LARGEST_NUMBER), "a number, or nothing where no episode began"),
        (empty & (table["episodes"] > 0), "the mean return of the row's episodes"),
    ):
        if wrong.any():
            raise bad_cell(path, table, "return_mean", wrong, expected)
    table["return_mean"] = returns
    if not (table["env_steps"].diff().iloc[1:] > 0).all():
        raise ValueError(f"{path}: column env_steps does not grow from row to row; it counts all steps so far")
    return table


def read_online_curves(paths: Sequence[Path], errors: Mapping[str, float] | None = None) -> pd.DataFrame:
    """All runs' curves: columns ``columns.CURVE_COLUMNS`` and ``normalized``; environments that cannot be normalised are left out
    with a warning. ``errors``: of the references, as ``references.reference_errors``.

    ValueError when there is no file, when one is malformed, when two hold the same run, when the files of an environment disagree on
    the returns of random and expert, or the seeds of an environment and method on the steps of their rows.
    """
    if not paths:
        raise ValueError("no curve.csv files were given; at least one is needed")
    runs: dict[tuple[str, str, int], Path] = {}
    first_of_env: dict[str, tuple[pd.DataFrame, Path]] = {}
    first_of_method: dict[tuple[str, str], tuple[pd.DataFrame, Path]] = {}
    tables = []
    for path in paths:
        table = read_online_curve(path)
        env, method, seed = (table[column].iloc[0] for column in ("env", "method", "seed"))
        if (first := runs.setdefault((env, method, seed), path)) is not path:
            raise ValueError(f"{path}: holds {env}, {method}, seed {seed}, which {first} holds as well")
        known, source = first_of_env.setdefault(env, (table, path))
        for column in ("return_random", "return_expert"):
            ours, theirs = table[column].iloc[0], known[column].iloc[0]
            if not np.isclose(ours, theirs):
                raise ValueError(f"{path}: {column} of {env} is {ours:g}, but {source} has {theirs:g}")
        known, source = first_of_method.setdefault((env, method), (table, path))
        if table["env_steps"].tolist() != known["env_steps"].tolist():
            raise ValueError(
                f"{path}: column env_steps differs from that of {source}; all seeds of {method} on {env} need the same rows"
            )
        tables.append(table)
    curves = pd.concat(tables, ignore_index=True)
    left_out = unnormalised(curves, "return_mean", errors)
    return drop_unnormalised(add_normalized(curves, left_out, column="return_mean"), left_out).reset_index(drop=True)


def curve_estimates(curves: pd.DataFrame, *, samples: int) -> pd.DataFrame:
    """Mean over seeds with 95% intervals, columns ``columns.ONLINE_COLUMNS``; ``curves``: of ``read_online_curves``.

    A seed's curve is a line through points of at least ``LEAST_EPISODES`` episodes, at most ``MOST_POINTS`` of them, each at the mean step
    of its episodes; it stays level beyond the last. A curve begins where all of its seeds do. With two environments or more, ``all`` is
    the mean over them for the methods that ran on each, at the steps that all of them cover.
    """
    if curves.empty:
        return pd.DataFrame(columns=list(ONLINE_COLUMNS))
    strata: dict[str, dict[str, tuple[Floats, Floats]]] = {}
    for (env, method), rows in curves.groupby(["env", "method"]):
        strata.setdefault(method, {})[env] = _pooled(rows)
    num_envs = curves["env"].nunique()
    parts = []
    for method, found in strata.items():
        shown = {env: [env] for env in found}
        if len(found) == num_envs > 1:
            shown[EVERY_ENV] = list(found)
        for name, envs in shown.items():
            steps, scores = _on_common_steps([found[env] for env in envs])
            seeds = [(0, zlib.crc32(f"{env}, {method}, online".encode())) for env in envs]
            band = estimate_curve(scores, samples=samples, seeds=seeds)
            columns = {"env_steps": steps, "mean": band.value, "low": band.low, "high": band.high}
            parts.append(pd.DataFrame(columns).assign(env=name, method=method))
    table = pd.concat(parts, ignore_index=True)
    return table[list(ONLINE_COLUMNS)].dropna(subset="mean")


def sample_efficiency(estimates: pd.DataFrame) -> pd.DataFrame:
    """Where each method is at a tenth of the environment steps that another one needs to converge; ``estimates``: of ``curve_estimates``.

    A row an environment and ordered pair, columns ``columns.EFFICIENCY_COLUMNS``. A baseline's final value is its mean over the last
    tenth of its steps; it has converged where it first comes within ``CONVERGED_WITHIN`` of that. One that is there from its first point
    on has learned nothing that could be saved, and has no rows.
    """
    rows = []
    for env, found in estimates.groupby("env"):
        curves = {str(method): curve.sort_values("env_steps") for method, curve in found.groupby("method")}
        for baseline, theirs in curves.items():
            steps = theirs["env_steps"].to_numpy(float)
            final = float(theirs["mean"][steps >= steps[-1] * (1 - FINAL_SHARE)].mean())
            converged = float(steps[(theirs["mean"] >= final - CONVERGED_WITHIN).to_numpy().argmax()])
            if converged == steps[0]:
                continue  # it never rose: a tenth of the steps that it needed says nothing
            early = EARLY_SHARE * converged
            for method, ours in curves.items():
                if method != baseline:
                    values = (*_values_at(ours, early), *_values_at(theirs, early))
                    rows.append((env, method, baseline, final, converged, early, *values))
    return pd.DataFrame(rows, columns=list(EFFICIENCY_COLUMNS))


def _values_at(curve: pd.DataFrame, env_steps: float) -> list[float]:
    """Mean, low and high, on straight lines between the points of a curve."""
    return [float(np.interp(env_steps, curve["env_steps"], curve[column])) for column in ("mean", "low", "high")]


def _pooled(rows: pd.DataFrame) -> tuple[Floats, Floats]:
    """Steps [T] and scores [S, T] of the seeds of one environment and method, NaN before a seed's first episode."""
    steps = np.sort(rows["env_steps"].unique()).astype(float)
    stride = -(-len(steps) // MOST_POINTS)
    return steps[::stride], np.stack([_points(seed, stride, steps[::stride]) for _, seed in rows.groupby("seed")])


def _points(rows: pd.DataFrame, stride: int, at: Floats) -> Floats:
    """One seed's scores at the steps ``at``: on lines through the mean steps and scores of runs of ``stride`` rows or more that hold
    ``LEAST_EPISODES`` or more. Rows at the end that are too few for a point of their own belong to the one before."""
    rows = rows[rows["episodes"].cumsum() > 0].sort_values("env_steps")
    if rows.empty:
        return np.full(len(at), np.nan)
    starts, seen = [0], 0
    for index, count in enumerate(rows["episodes"]):
        if seen >= LEAST_EPISODES and index - starts[-1] >= stride:
            starts.append(index)
            seen = 0
        seen += count
    if seen < LEAST_EPISODES and len(starts) > 1:
        starts.pop()
    weights = rows["episodes"].to_numpy(float)
    counts = np.add.reduceat(weights, starts)
    centres = np.add.reduceat(weights * rows["env_steps"].to_numpy(float), starts) / counts
    scores: Floats = np.interp(
        at, centres, np.add.reduceat(weights * rows["normalized"].fillna(0).to_numpy(), starts) / counts
    )
    scores[at < rows["env_steps"].iloc[0]] = np.nan
    return scores


def _filled(steps: Floats, scores: Floats, at: Floats) -> Floats:
    """Scores at the steps ``at`` on straight lines between those that are known; NaN before the first."""
    known = np.isfinite(scores)
    if not known.any():
        return np.full(len(at), np.nan)
    filled: Floats = np.interp(at, steps[known], scores[known], left=np.nan)
    return filled


def _on_common_steps(curves: Sequence[tuple[Floats, Floats]]) -> tuple[Floats, list[Floats]]:
    """The steps of all curves between the latest start and the earliest end, and each curve's scores [S, T] there."""
    first, last = max(steps[0] for steps, _ in curves), min(steps[-1] for steps, _ in curves)
    every = np.unique(np.concatenate([steps for steps, _ in curves]))
    common = every[(every >= first) & (every <= last)]
    return common, [np.stack([_filled(steps, seed, common) for seed in scores]) for steps, scores in curves]
