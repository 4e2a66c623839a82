"""Which transitions get their action labels, and which episodes a learner gets: one random draw for all methods, so that they are equal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamflow.data.label_budgets import LabelBudget, Unit
from lamflow.data.shares import MemberShares
from lamflow.data.store import EpisodeArrays
from lamflow.data.windows import labelled_transitions, transition_rows
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

    Drawn without replacement from the rows whose action is known and that have a next frame, of the episodes ``within`` int64 [E] or of
    all; trajectories from the episodes of which all these actions are known. In a union, of each member by its share, among those of which
    any action is known. Of the same ``seed`` and ``draw`` a smaller count is the beginning of a larger one. ValueError, which names
    ``store``, when the data holds fewer.
    """
    count, unit = budget.count, budget.unit
    firsts = _drawable(arrays, unit, within)
    if not 0 < count <= len(firsts):
        raise ValueError(
            f"{f'{store}: ' if store else ''}label count {count} {unit}: {_held(arrays, len(firsts), unit, within)}, in label draw {draw}: "
            f"{_remedy(arrays)}"
        )
    generator = np.random.default_rng((seed, draw, unit == "trajectories"))
    if arrays.members is not None:
        members = labelled_members(arrays, arrays.members)
        drawn = _by_share(firsts, members, count, generator, f"{store}: " if store else "", unit, _remedy(arrays))
    else:
        drawn = firsts[generator.permutation(len(firsts))[:count]]
    if unit == "transitions":
        return torch.from_numpy(drawn)
    lasts = np.append(arrays.episode_starts[1:], arrays.num_rows) - 1
    episodes = np.searchsorted(arrays.episode_starts, drawn)
    return torch.from_numpy(np.concatenate([np.arange(arrays.episode_starts[e], lasts[e]) for e in episodes]))


def labelled_members(arrays: EpisodeArrays, members: MemberShares) -> MemberShares:
    """The same members of a union, of which those alone have a share of the labels of which any action is known."""
    return members.among(np.flatnonzero(arrays.is_labelled))


def _drawable(arrays: EpisodeArrays, unit: Unit, within: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """int64: the rows that labels are drawn from, or the first rows of the episodes."""
    lasts = np.append(arrays.episode_starts[1:], arrays.num_rows) - 1
    rows = (labelled_transitions if unit == "transitions" else transition_rows)(arrays).numpy()
    episodes = np.searchsorted(lasts, rows)
    if unit == "transitions":
        return rows if within is None else rows[np.isin(episodes, within)]
    usable = np.setdiff1d(episodes, episodes[~arrays.is_labelled[rows]])
    return arrays.episode_starts[usable if within is None else np.intersect1d(usable, within)]


def _held(arrays: EpisodeArrays, held: int, unit: Unit, within: NDArray[np.int64] | None) -> str:
    """What labels can be drawn from, in words."""
    usable = episodes_with_transitions(arrays.episode_starts, arrays.num_rows)
    num_episodes = arrays.num_episodes if within is None else len(within)
    unusable = num_episodes - (len(usable) if within is None else len(np.intersect1d(usable, within)))
    those = "the episodes" if within is None else f"the {num_episodes} episodes that they are drawn from"
    without = f" ({unusable} episodes without a transition do not count)" if unusable else ""
    known = "" if arrays.labelled is None else " whose actions are known"
    expected = f"1 to {held}" if held else "one at least"
    return f"{those} hold {held} {unit}{known}, expected {expected}{without}"


def _remedy(arrays: EpisodeArrays) -> str:
    if arrays.labelled is None:
        return "lower the count under `labels`, or raise `collection.train_episodes`"
    return "lower the count under `labels`, or record the actions of more rows"


def _by_share(
    rows: NDArray[np.int64],
    members: MemberShares,
    count: int,
    generator: np.random.Generator,
    store: str,
    unit: str,
    remedy: str,
) -> NDArray[np.int64]:
    """``count`` of ``rows``, of each member by its share; ValueError when one has too few."""
    held = np.bincount(members.of(rows), minlength=len(members.names))
    for name, share, has in zip(members.names, members.shares.tolist(), held.tolist(), strict=True):
        if share * count > has + 1:  # a draw may be off by one
            raise ValueError(
                f"{store}label count {count} {unit}: {name} has a share of {share:.3g} of them, and its episodes hold {has} {unit}: "
                f"{remedy}, or lower its share"
            )
    return members.drawn(rows, members.sequence(count, generator), generator)
