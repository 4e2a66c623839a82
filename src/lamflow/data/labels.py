"""Which transitions get their action labels, and which episodes a learner gets: one random draw for all methods, so that they are equal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamflow.data.label_budgets import LabelBudget
from lamflow.data.shares import MemberShares
from lamflow.data.store import EpisodeArrays
from lamflow.data.windows import transition_rows
from lamflow.settings import EpisodeCount

_EPISODE_STREAM = 11_000_003
"""Of the seeds that draw episodes, which have nothing to do with the draws of labels."""


def draw_episodes(
    num_episodes: int, count: EpisodeCount, *, seed: int, store: Path | None = None
) -> NDArray[np.int64] | None:
    """int64 [E], ascending: so many of the episodes 0 .. ``num_episodes`` - 1, None for all of them.

    Drawn without replacement. Of the same ``seed`` a smaller count is a part of a larger one. ValueError, which names ``store``, when there
    are fewer.
    """
    if count == "all":
        return None
    if count > num_episodes:
        raise ValueError(
            f"{f'{store}: ' if store else ''}found {num_episodes} episodes, expected at least the {count} that are asked for: lower the "
            "method's number of episodes, or raise `collection.train_episodes`"
        )
    order = np.random.default_rng((seed, _EPISODE_STREAM)).permutation(num_episodes)
    return np.sort(order[:count])


def episodes_with_transitions(episode_starts: NDArray[np.int64], num_rows: int) -> NDArray[np.int64]:
    """int64 [U]: the episodes of two rows or more. Where final observations are not known, one of a single action has none."""
    return np.flatnonzero(np.diff(episode_starts, append=num_rows) > 1)


def draw_labels(
    arrays: EpisodeArrays,
    budget: LabelBudget,
    *,
    draw: int,
    seed: int,
    store: Path | None = None,
    within: NDArray[np.int64] | None = None,
) -> Tensor:
    """int64 rows of the labelled transitions: so many of them, or all those of so many episodes that have some.

    Drawn without replacement from the rows with an action and a next frame, of the episodes ``within`` int64 [E] or of all; in a union, of
    each member by its share. Of the same ``seed`` and ``draw`` a smaller count is the beginning of a larger one. ValueError, which names
    ``store``, when the data holds fewer.
    """
    count, unit = budget.count, budget.unit
    usable = episodes_with_transitions(arrays.episode_starts, arrays.num_rows)
    stops = np.append(arrays.episode_starts[1:], arrays.num_rows) - 1
    rows = transition_rows(arrays)
    if within is not None:
        usable = np.intersect1d(usable, within)
        rows = rows[torch.from_numpy(np.isin(np.searchsorted(stops, rows.numpy()), within))]
    held = len(rows) if unit == "transitions" else len(usable)
    if not 0 < count <= held:
        num_episodes = arrays.num_episodes if within is None else len(within)
        unusable = num_episodes - len(usable)
        those = "the episodes" if within is None else f"the {num_episodes} episodes that they are drawn from"
        without = f" ({unusable} episodes without a transition do not count)" if unusable else ""
        raise ValueError(
            f"{f'{store}: ' if store else ''}label count {count} {unit}: {those} hold {held} {unit}, expected 1 to {held}{without}, "
            f"in label draw {draw}: lower the count under `labels`, or raise `collection.train_episodes`"
        )
    generator = np.random.default_rng((seed, draw, unit == "trajectories"))
    firsts = rows.numpy() if unit == "transitions" else arrays.episode_starts[usable]
    if arrays.members is not None:
        drawn = _by_share(firsts, arrays.members, count, generator, f"{store}: " if store else "", unit)
    else:
        drawn = firsts[generator.permutation(held)[:count]]
    if unit == "transitions":
        return torch.from_numpy(drawn)
    episodes = np.searchsorted(arrays.episode_starts, drawn)
    return torch.from_numpy(np.concatenate([np.arange(arrays.episode_starts[e], stops[e]) for e in episodes]))


def _by_share(
    rows: NDArray[np.int64], members: MemberShares, count: int, generator: np.random.Generator, store: str, unit: str
) -> NDArray[np.int64]:
    """``count`` of ``rows``, of each member by its share; ValueError when one has too few."""
    held = np.bincount(members.of(rows), minlength=len(members.names))
    for name, share, has in zip(members.names, members.shares.tolist(), held.tolist(), strict=True):
        if share * count > has + 1:  # a draw may be off by one
            raise ValueError(
                f"{store}label count {count} {unit}: {name} has a share of {share:.3g} of them, and its episodes hold {has} {unit}: lower "
                "the count under `labels`, or its share, or raise `collection.train_episodes`"
            )
    return members.drawn(rows, members.sequence(count, generator), generator)
