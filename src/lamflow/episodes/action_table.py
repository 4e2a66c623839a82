"""Actions of recorded frames from a table beside them: CSV or parquet, a row per frame whose action is known.

Columns: ``episode`` (its name), ``frame`` (its place in the recording, from 0), and ``action`` (a whole number from 0, or a word), or
``action_0`` to ``action_<A-1>`` (numbers). Shapes: n frames, A entries of an action.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lamflow.episodes.tables import read_table
from lamflow.settings import WIDEST
from lamflow.spaces import ActionSpace, Box, Discrete


@dataclass(frozen=True)
class ActionTable:
    """Actions by episode and frame. ``space``: of all that stand in the table; ``action_names``: the words, where actions are words."""

    path: Path
    space: ActionSpace
    action_names: tuple[str, ...]
    notes: tuple[str, ...]
    frames: Mapping[str, NDArray[np.int64]]
    """Of each episode the frames whose actions are known, in order."""
    actions: Mapping[str, NDArray[Any]]
    """Of each episode the actions of these frames: int64 [n] or float32 [n, A]."""

    def check_episodes(self, known: Collection[str]) -> None:
        """ValueError for an episode that there is not."""
        unknown = [name for name in self.frames if name not in known]
        if unknown:
            raise ValueError(
                f"{self.path}: found actions of the episode {unknown[0]!r}, expected one of {_some(known)}: an episode has the name of its "
                "file or folder, without the ending"
            )

    def check_length(self, episode: str, num_frames: int) -> None:
        """ValueError for an action of a frame that lies beyond the episode's last one."""
        frames = self.frames.get(episode)
        if frames is not None and frames[-1] >= num_frames:
            raise ValueError(
                f"{self.path}: episode {episode!r}: found an action of frame {frames[-1]}, expected frames from 0 to {num_frames - 1}, "
                f"which are the {num_frames} that its recording has: frames are counted in the recording, from 0"
            )

    def knows(self, episode: str, first: int, end: float, every: int) -> bool:
        """Whether it has the action of any of an episode's frames ``first``, ``first + every``, ... before ``end``."""
        frames = self.frames.get(episode)
        if frames is None:
            return False
        return bool(((frames >= first) & (frames < end) & ((frames - first) % every == 0)).any())

    def of(self, episode: str, frames: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """The actions of some frames of an episode, int64 [n] or float32 [n, A], 0 where unknown, and bool [n] which are known."""
        actions = np.zeros((len(frames), *self.space.shape), self.space.dtype)
        known = self.frames.get(episode)
        if known is None:
            return actions, np.zeros(len(frames), np.bool_)
        place = np.minimum(np.searchsorted(known, frames), len(known) - 1)
        labelled = known[place] == frames
        actions[labelled] = self.actions[episode][place[labelled]]
        return actions, labelled


def read_action_table(path: Path) -> ActionTable:
    """ValueError where it is no such table: it names the episode and the frame."""
    table = read_table(path, what="actions", texts=("episode",))
    columns = _action_columns(path, table)
    table = _without_empty(path, table, columns)
    episodes, frames = _keys(path, table)
    actions, names = _values(path, table, columns)
    order = np.lexsort((frames, episodes))
    episodes, frames, actions = episodes[order], frames[order], actions[order]
    _check_once(path, episodes, frames)
    borders = np.flatnonzero(episodes[1:] != episodes[:-1]) + 1
    found = [str(part[0]) for part in np.split(episodes, borders)]
    return ActionTable(
        path,
        _space(path, actions),
        names,
        (*constant_notes(str(path), actions, columns), *_whole_notes(path, actions, columns)),
        dict(zip(found, np.split(frames, borders), strict=True)),
        dict(zip(found, np.split(actions, borders), strict=True)),
    )


def constant_notes(where: str, actions: NDArray[Any], columns: Collection[str]) -> tuple[str, ...]:
    """A sentence for each entry of the actions [n] or [n, A] that never changes; ``columns``: what they are called."""
    entries = actions.reshape(len(actions), -1)
    constant = (entries == entries[:1]).all(axis=0) if len(entries) > 1 else np.zeros(entries.shape[1], np.bool_)
    return tuple(
        f"{where}: {name} is {entries[0, place].item():g} in all {len(entries)} rows: it may be a column that nobody filled."
        for place, name in enumerate(columns)
        if constant[place]
    )


def discrete_space(where: str, highest: int) -> Discrete:
    """Of the actions from 0 to ``highest``. ValueError where that is more than networks can have answers."""
    if highest >= WIDEST:
        raise ValueError(
            f"{where}: found the action {highest}, expected whole numbers from 0 to {WIDEST - 1}: number the actions from 0 without gaps, "
            "or write continuous ones as floats"
        )
    return Discrete(highest + 1)


def space_of_bounds(low: NDArray[Any], high: NDArray[Any]) -> Box:
    """Of actions whose entries were found from ``low`` to ``high`` [A]; an entry that never changes gets some room."""
    low, high = low.astype(np.float32), high.astype(np.float32)
    high = np.where(high > low, high, low + np.float32(1))
    return Box(tuple(map(float, low)), tuple(map(float, high)))


def _space(path: Path, actions: NDArray[Any]) -> ActionSpace:
    if actions.ndim == 1:
        return discrete_space(str(path), int(actions.max()))
    return space_of_bounds(actions.min(axis=0), actions.max(axis=0))


def _action_columns(path: Path, table: pa.Table) -> list[str]:
    names = table.column_names
    numbered = sum(re.fullmatch(r"action_\d+", name) is not None for name in names)
    columns = [f"action_{place}" for place in range(numbered)] or ["action"]
    wanted = ["episode", "frame", *columns]
    if any(names.count(name) != 1 for name in wanted) or (numbered and "action" in names):
        raise ValueError(
            f"{path}: found the columns {', '.join(names)}; expected episode, frame and action, or episode, frame and action_0, action_1 "
            "and so on, each once, with commas and no spaces between them"
        )
    return columns


def _without_empty(path: Path, table: pa.Table, columns: list[str]) -> pa.Table:
    """An empty cell is an action that nobody knows."""
    filled = [table[name].is_valid() for name in columns]
    known = filled[0]
    for part in filled[1:]:
        if not part.equals(known):
            row = int(np.argmax(part.to_numpy() != known.to_numpy()))
            raise ValueError(
                f"{path}: episode {table['episode'][row].as_py()!r}, frame {table['frame'][row].as_py()}: found an action of which some "
                "entries are empty, expected all of them or none"
            )
    table = table.filter(known)
    if table.num_rows == 0:
        raise ValueError(
            f"{path}: found no action, expected at least one row with an action; without any, leave the table out"
        )
    return table


def _keys(path: Path, table: pa.Table) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
    for name in ("episode", "frame"):
        if table[name].null_count:
            row = int(np.argmin(table[name].is_valid().to_numpy()))
            raise ValueError(f"{path}: found no {name} in row {row} of those with an action, expected one in each")
    if not pa.types.is_integer(table["frame"].type):
        raise ValueError(f"{path}: found frames of type {table['frame'].type}, expected whole numbers from 0")
    episodes = np.asarray(pc.cast(table["episode"], pa.string()).to_numpy(), np.str_)
    frames = table["frame"].to_numpy().astype(np.int64)
    if frames.min() < 0:
        row = int(np.argmin(frames))
        raise ValueError(f"{path}: episode {str(episodes[row])!r}: found frame {frames[row]}, expected frames from 0")
    return episodes, frames


def _values(path: Path, table: pa.Table, columns: list[str]) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Actions int64 [n] or float32 [n, A], and the words that stood in their places."""
    first = table[columns[0]]
    if len(columns) == 1 and columns == ["action"]:
        if pa.types.is_string(first.type) or pa.types.is_large_string(first.type):
            words = pc.utf8_trim_whitespace(first).to_numpy()
            names, places = np.unique(np.asarray(words, np.str_), return_inverse=True)
            return places.astype(np.int64), tuple(map(str, names))
        if pa.types.is_integer(first.type):
            values: NDArray[Any] = np.asarray(first.to_numpy(), np.int64)
            _check_rows(path, table, values < 0, values, "a whole number from 0")
            return values, ()
    for name in columns:
        if not (pa.types.is_integer(table[name].type) or pa.types.is_floating(table[name].type)):
            raise ValueError(f"{path}: column {name}: found {table[name].type}, {_wanted(table[name].type, name)}")
    values = np.stack([table[name].to_numpy().astype(np.float32) for name in columns], axis=1)
    _check_rows(path, table, ~np.isfinite(values).all(axis=1), values, "finite numbers")
    return values, ()


def _wanted(kind: pa.DataType, name: str) -> str:
    if pa.types.is_binary(kind):
        return "expected text in UTF-8: write the table again, in that encoding"
    return "expected numbers" + (" or words: yes and no may be 1 and 0" if name == "action" else "")


def _whole_notes(path: Path, actions: NDArray[Any], columns: list[str]) -> tuple[str, ...]:
    """pandas writes whole numbers with a point where some are missing."""
    if columns != ["action"] or actions.ndim == 1 or not (actions == np.floor(actions)).all():
        return ()
    return (
        f"{path}: all actions are whole numbers that are written with a point, such as {actions[0, 0]:.1f}, and are taken as continuous: "
        f"for discrete ones write {actions[0, 0]:.0f} (in pandas, `astype('Int64')`).",
    )


def _check_rows(path: Path, table: pa.Table, wrong: NDArray[np.bool_], values: NDArray[Any], expected: str) -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"{path}: episode {table['episode'][row].as_py()!r}, frame {table['frame'][row].as_py()}: found the action "
            f"{values[row].tolist()}, expected {expected}; leave it empty where it is not known"
        )


def _check_once(path: Path, episodes: NDArray[np.str_], frames: NDArray[np.int64]) -> None:
    twice = (episodes[1:] == episodes[:-1]) & (frames[1:] == frames[:-1])
    if twice.any():
        row = int(np.argmax(twice))
        raise ValueError(
            f"{path}: episode {str(episodes[row])!r}: found frame {frames[row]} twice, expected one action per frame"
        )


def _some(names: Collection[str]) -> str:
    shown = list(names)[:5]
    return ", ".join(map(repr, shown)) + (f" and {len(names) - len(shown)} others" if len(names) > len(shown) else "")
