"""What the actions of a LeRobot data set are: their space, their names, and whether they ever change.

Bounds are those of ``meta/stats.json``; where that says nothing, of the data. Shapes: A entries of an action.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamflow.episodes.action_table import discrete_space
from lamflow.episodes.lerobot_layout import Layout, open_parquet
from lamflow.episodes.lerobot_rows import EPISODE, batches_of, values_of
from lamflow.spaces import ActionSpace, Box

ABSENT = "action"
"""A column of this name may be missing: the data set then has no actions."""
_ROWS = 65_536
Bounds = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class LeRobotActions:
    """``space``: None where no row has an action that counts; ``names``: of an action's entries; ``notes``: what is strange about them."""

    space: ActionSpace | None
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def actions_of(layout: Layout, column: str | None) -> LeRobotActions:
    """ValueError where the column is missing or holds what no action can be."""
    if column is None:
        return LeRobotActions(None)
    feature = layout.features.get(column)
    if feature is None and column == ABSENT:
        return LeRobotActions(None, notes=(f"{layout.root}: there is no column {ABSENT!r}: no row has an action.",))
    if feature is None:
        raise ValueError(
            f"{layout.root}/meta/info.json: found no column {column!r}, expected one of {', '.join(layout.features)}"
        )
    entries = vector_entries(layout, column)
    names = entry_names(feature, entries)
    (low, high), source = _bounds(layout, column, entries)
    constant = low == high
    if constant.all():
        value = low[0] if (low == low[0]).all() else low.tolist()
        said = (
            f"{source}: the column {column!r} is {value} in all rows: it is taken as unknown, so no row has an action."
        )
        return LeRobotActions(None, names, (said,))
    notes = tuple(
        f"{source}: {name} of the column {column!r} is {low[entry]:g} in all rows: it may be one that nobody filled."
        for entry, name in enumerate(names)
        if constant[entry]
    )
    return LeRobotActions(_space(layout, column, low, high), names, notes)


def vector_entries(layout: Layout, column: str) -> int:
    """The length of a column's vectors. ValueError where they are none."""
    feature = layout.features[column]
    kind, shape = str(feature.get("dtype")), tuple(feature.get("shape") or (1,))
    if len(shape) != 1 or not kind.startswith(("float", "int", "uint", "bool")):
        raise ValueError(
            f"{layout.root}/meta/info.json: found {kind} of shape {list(shape)} in the column {column!r}, expected a vector of numbers"
        )
    return int(shape[0])


def labelled_episodes(layout: Layout, column: str) -> frozenset[int] | None:
    """The numbers of the episodes in which some row has an action; None where no row of the data set lacks one, as the statistics in the
    footers of all files say. Only files with empty rows are read, and of them the actions alone."""
    files = dict.fromkeys(episode.data for episode in layout.episodes)
    empty = {path for path in files if _may_lack(path, column)}
    if not empty:
        return None
    entries = vector_entries(layout, column)
    found = {episode.index for episode in layout.episodes if episode.data not in empty}
    alone = {episode.data: episode.index for episode in layout.episodes if episode.alone}
    for path in empty:
        for batch in batches_of(path, [column] if path in alone else [column, EPISODE], _ROWS):
            known = values_of(batch.column(column), entries, f"{path}: column {column!r}")[1]
            if path not in alone:
                found |= set(batch.column(EPISODE).to_numpy(zero_copy_only=False)[known].tolist())
            elif known.any():
                found.add(alone[path])
    return frozenset(found)


def _may_lack(path: Path, column: str) -> bool:
    """Whether a row of a file may lack an action: its statistics say so, or say nothing."""
    metadata = open_parquet(path).metadata
    for group in (metadata.row_group(index) for index in range(metadata.num_row_groups)):
        for chunk in (group.column(index) for index in range(group.num_columns)):
            statistics = chunk.statistics
            if chunk.path_in_schema.partition(".")[0] == column and (
                statistics is None or not statistics.has_null_count or statistics.null_count
            ):
                return True
    return False


def entry_names(feature: Mapping[str, Any], entries: int) -> tuple[str, ...]:
    """What the entries of a column are called: a list of names, or one within a mapping; else their numbers."""
    names = feature.get("names")
    if isinstance(names, dict):
        names = next(iter(names.values()), None)
    if isinstance(names, list) and len(names) == entries:
        return tuple(map(str, names))
    return tuple(f"entry {entry}" for entry in range(entries))


def _space(layout: Layout, column: str, low: NDArray[np.float64], high: NDArray[np.float64]) -> ActionSpace:
    feature = layout.features[column]
    if len(low) > 1 or str(feature["dtype"]).startswith("float"):
        return Box(*(tuple(map(float, bound.astype(np.float32))) for bound in (low, high)))
    if low[0] < 0:
        raise ValueError(
            f"{layout.root}: found actions from {low[0]:g} to {high[0]:g} in the column {column!r}, expected whole numbers from 0: leave "
            "rows without an action empty (null)"
        )
    return discrete_space(f"{layout.root}: column {column!r}", int(high[0]))


def _bounds(layout: Layout, column: str, entries: int) -> tuple[Bounds, str]:
    """The least and greatest number of each entry [A], and where they were found."""
    path = layout.root / "meta" / "stats.json"
    if path.is_file():
        try:
            stats = json.loads(path.read_text(encoding="utf-8")).get(column) or {}
            low, high = (np.array(stats[key], np.float64).reshape(-1) for key in ("min", "max"))
        except (ValueError, KeyError, TypeError, AttributeError):
            low = high = np.zeros(0)
        if len(low) == len(high) == entries and np.isfinite([low, high]).all():
            return (low, high), str(path)
    return _bounds_of_data(layout, column, entries), str(layout.root / "data")


def _bounds_of_data(layout: Layout, column: str, entries: int) -> Bounds:
    """NaN does not count here: reading its row tells of it, with its episode and frame."""
    low, high = np.full(entries, np.inf), np.full(entries, -np.inf)
    for path in dict.fromkeys(episode.data for episode in layout.episodes):
        for batch in batches_of(path, [column], _ROWS):
            values, known = values_of(batch.column(column), entries, f"{path}: column {column!r}")
            low, high = np.fmin(low, _least(values[known])), np.fmax(high, -_least(-values[known].astype(np.float64)))
    empty = ~np.isfinite([low, high]).all(axis=0)
    return np.where(empty, 0.0, low), np.where(empty, 0.0, high)


def _least(values: NDArray[Any]) -> NDArray[np.float64]:
    least: NDArray[np.float64] = np.fmin.reduce(values.astype(np.float64), axis=0, initial=np.inf)
    return least
