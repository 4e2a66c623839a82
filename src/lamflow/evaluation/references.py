"""The returns by which an environment's are normalised, and how well they are known."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from lamflow.data.store import EpisodeStore
from lamflow.envs.spec import EnvironmentSpec
from lamflow.evaluation.columns import PART
from lamflow.evaluation.normalisers import stored_normaliser


def reference_returns(store: EpisodeStore, spec: EnvironmentSpec) -> tuple[float, float]:
    """The returns of random and of the expert by which returns are normalised."""
    random, expert = store.attributes["return_random"], store.attributes["return_expert"]
    if random is not None and expert is not None:
        return random, expert
    if spec.return_bounds is None:
        raise ValueError(
            f"{store.path}: found return_random {random} and return_expert {expert}, expected numbers: {spec.name} has no "
            "published bounds to take in their place; write the store with both"
        )
    return spec.return_bounds


def mean_and_error(returns: Sequence[float]) -> tuple[float, float | None]:
    """The mean of ``returns`` and its standard error, which is None for a single return: one does not tell."""
    count = len(returns)
    mean = sum(returns) / count
    if count == 1:
        return mean, None
    return mean, math.sqrt(sum((value - mean) ** 2 for value in returns) / (count - 1) / count)


def published_bounds(stores: Sequence[Path | str]) -> dict[str, tuple[float, float]]:
    """The published returns (min, max) of the environments of episode stores, of those that have some."""
    found = {name: store.spec.return_bounds for name, store in _played(stores)}
    return {name: bounds for name, bounds in found.items() if bounds is not None}


def reference_errors(stores: Sequence[Path | str]) -> dict[str, float]:
    """The standard error of the difference of the references of each environment, where its test store tells it."""
    found = {name: stored_normaliser(store.attributes) for name, store in _played(stores)}
    return {env: known.error for env, known in found.items() if known is not None and known.error is not None}


def _played(stores: Sequence[Path | str]) -> Iterator[tuple[str, EpisodeStore]]:
    """The test stores of the environments in which agents play, by the names that tables have of these."""
    for store in map(EpisodeStore.open, stores):
        for played in store.simulated:
            yield played.env if played is store else f"{store.env}{PART}{played.env}", played
