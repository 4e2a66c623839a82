"""Episodes of a LeRobot data set in a local folder, read with pyarrow and PyAV alone.

A row t holds o_t, the action taken in it, and what that action gave: T rows and T pictures per episode, and none after the last action.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lamflow.episodes.fit import FrameFit
from lamflow.episodes.interface import Described, EpisodeEntry, Piece, RecordedEpisode
from lamflow.episodes.lerobot_actions import LeRobotActions, actions_of, labelled_episodes, vector_entries
from lamflow.episodes.lerobot_layout import CAMERA_KINDS, Layout, LeRobotEpisode, read_layout, read_licence, video_notes
from lamflow.episodes.lerobot_pictures import Pictures, pictures_of
from lamflow.episodes.lerobot_rows import EPISODE, RowReader, batches_of, check_finite, values_of
from lamflow.episodes.lerobot_settings import FRAMES, LeRobotSettings
from lamflow.spaces import Box, Discrete, Part, Pixels, Vector

PIECE_BYTES = 4 * 2**20
"""Of frames in a piece."""
ENDS = ("next.success", "next.done")
"""Columns whose last row says whether an episode reached the end of its task; the first that there is counts."""
REWARD = "next.reward"
MOST_TASKS = 100
"""That stand in the facts; the group of each episode has its own."""
_ROWS = 65_536


class LeRobotSource:
    """The episodes in the order of their numbers, called as LeRobot calls their files: ``episode_000000``."""

    def __init__(self, *, settings: LeRobotSettings, fit: FrameFit) -> None:
        self._settings = settings
        self._fit = fit
        self._ends: tuple[Path | None, dict[int, bool]] = (None, {})

    def describe(self) -> Described:
        """See ``Source``."""
        return self._described

    def episodes(self, names: Collection[str] | None = None) -> Iterator[RecordedEpisode]:
        """See ``Source``. Whatever is read of a file is read in one pass."""
        self._check_names(names)
        pictures = pictures_of(self._layout, self._camera, self._fit)
        rows = RowReader(self._columns(pictures), self._rows_per_piece)
        try:
            for episode in self._layout.episodes:
                if names is None or episode.name in names:
                    pieces = self._pieces(episode, rows, pictures)
                    yield RecordedEpisode(self._entry(episode), pieces, self._terminated(episode))
        finally:
            pictures.close()

    @cached_property
    def _layout(self) -> Layout:
        return read_layout(Path(self._settings.path))

    @cached_property
    def _camera(self) -> str:
        return self._layout.camera(self._settings.camera)

    @cached_property
    def _actions(self) -> LeRobotActions:
        return actions_of(self._layout, self._settings.actions)

    @cached_property
    def _labelled(self) -> frozenset[int] | None:
        """The numbers of the episodes with actions; None where all rows have one, or none has."""
        column = self._settings.actions
        return None if self._actions.space is None or column is None else labelled_episodes(self._layout, column)

    def _entry(self, episode: LeRobotEpisode) -> EpisodeEntry:
        labelled = None if self._labelled is None else episode.index in self._labelled
        return EpisodeEntry(episode.name, episode.rows, " / ".join(episode.tasks), labelled)

    @cached_property
    def _vectors(self) -> Mapping[str, tuple[str, int]]:
        """The column and the entries of each further part."""
        return {name: self._vector(name, column) for name, column in self._settings.parts.items()}

    @cached_property
    def _described(self) -> Described:
        layout, camera = self._layout, self._camera
        notes = (*self._notes(), *self._actions.notes)
        recorded = pictures_of(layout, camera, self._fit).recorded()
        parts: dict[str, Part] = {FRAMES: Pixels((*self._fit.shape_of(recorded.height, recorded.width), 3))}
        discrete = isinstance(self._actions.space, Discrete)
        tasks = list(dict.fromkeys(task for episode in layout.episodes for task in episode.tasks))
        return Described(
            observation=parts | {name: Vector((entries,)) for name, (_, entries) in self._vectors.items()},
            main=FRAMES,
            action=self._actions.space,
            episodes=tuple(map(self._entry, layout.episodes)),
            lossy=recorded.lossy,
            frames_per_second=layout.frames_per_second,
            licence=read_licence(layout.root),
            notes=notes,
            facts={
                "version": layout.version,
                "robot": layout.info.get("robot_type"),
                "camera": camera,
                "codec": recorded.codec,
                "recorded_height": recorded.height,
                "recorded_width": recorded.width,
                "tasks": tasks[:MOST_TASKS],
                "num_tasks": len(tasks),
                **({} if discrete or not self._actions.space else {"action_entries": list(self._actions.names)}),
            },
        )

    def _notes(self) -> Iterator[str]:
        layout = self._layout
        for key, found in (("total_episodes", len(layout.episodes)), ("total_frames", self._num_rows)):
            if layout.info.get(key, found) != found:
                yield f"{layout.root}/meta/info.json: {key} is {layout.info[key]}, but {found} are listed."
        others = [name for name in layout.cameras if name != self._camera]
        if others and self._settings.camera is None:
            yield f"{layout.root}: pictures are those of {self._camera}; other cameras: {', '.join(others)} (`camera:`)."
        if layout.features[self._camera]["dtype"] == "video":
            yield from video_notes(layout, self._camera)

    @property
    def _num_rows(self) -> int:
        return sum(episode.rows for episode in self._layout.episodes)

    @property
    def _rows_per_piece(self) -> int:
        return max(1, PIECE_BYTES // int(np.prod(self._described.observation[FRAMES].shape)))

    def _columns(self, pictures: Pictures) -> Sequence[str]:
        vectors = [column for column, _ in self._vectors.values()]
        actions = [self._settings.actions] if self._actions.space and self._settings.actions else []
        rewards = [REWARD] if REWARD in self._layout.features else []
        return list(dict.fromkeys([*pictures.columns, *vectors, *actions, *rewards]))

    def _vector(self, name: str, column: str) -> tuple[str, int]:
        features = self._layout.features
        known = [key for key, feature in features.items() if feature.get("dtype") not in CAMERA_KINDS]
        if column not in known:
            raise ValueError(
                f"{self._layout.root}: parts.{name}: found {'a camera' if column in features else 'no column'} {column!r}, expected one of "
                f"{', '.join(known)}"
            )
        return column, vector_entries(self._layout, column)

    def _check_names(self, names: Collection[str] | None) -> None:
        known = {episode.name for episode in self._layout.episodes}
        unknown = sorted(set(names or ()) - known)
        if unknown:
            raise ValueError(
                f"{self._layout.root}: found no episode {unknown[0]!r}, expected names from {min(known)} to {max(known)}"
            )

    def _pieces(self, episode: LeRobotEpisode, rows: RowReader, pictures: Pictures) -> Iterator[Piece]:
        pictures.begin(episode)
        first = 0
        for batch in rows.rows_of(episode):
            yield self._piece(episode, batch, pictures.take(batch, first), first)
            first += batch.num_rows
        pictures.end()

    def _piece(self, episode: LeRobotEpisode, batch: pa.RecordBatch, frames: NDArray[np.uint8], first: int) -> Piece:
        expected = self._described.observation[FRAMES].shape
        if frames.shape[1:] != expected:
            raise ValueError(
                f"{episode.data}: episode {episode.index}: found frames of shape {list(frames.shape[1:])}, expected {list(expected)} as in "
                "the first episode: set `frames: {height: 64, width: 64}`"
            )
        observations: dict[str, NDArray[Any]] = {FRAMES: frames}
        for name, (column, entries) in self._vectors.items():
            observations[name] = self._whole(episode, batch, column, entries, first).astype(np.float32)
        rewards = None
        if REWARD in batch.schema.names:
            rewards = self._whole(episode, batch, REWARD, 1, first)[:, 0].astype(np.float32)
        return Piece(observations, *self._actions_in(episode, batch, first), rewards)

    def _whole(
        self, episode: LeRobotEpisode, batch: pa.RecordBatch, column: str, entries: int, first: int
    ) -> NDArray[Any]:
        """A column's numbers [n, entries], all of them there."""
        where = f"{episode.data}: episode {episode.index}, column {column!r}"
        values, known = values_of(batch.column(column), entries, where)
        if not known.all():
            raise ValueError(
                f"{where}, frame {first + int(np.argmin(known))}: found nothing, expected {entries} numbers"
            )
        check_finite(values, where, first)
        return values

    def _actions_in(
        self, episode: LeRobotEpisode, batch: pa.RecordBatch, first: int
    ) -> tuple[NDArray[Any] | None, NDArray[np.bool_] | None]:
        """Actions int64 [n] or float32 [n, A], and bool [n] whether a row has one, None where all have."""
        space, column = self._actions.space, self._settings.actions
        if not isinstance(space, Box | Discrete) or column is None:
            return None, None
        where = f"{episode.data}: episode {episode.index}, column {column!r}"
        values, known = values_of(batch.column(column), vector_entries(self._layout, column), where)
        check_finite(values, where, first)
        actions = values[:, 0].astype(np.int64) if isinstance(space, Discrete) else values.astype(np.float32)
        outside = _outside(space, actions) & (known if isinstance(space, Discrete) else known[:, None])
        if outside.any():
            frame, found = first + int(np.argwhere(outside)[0][0]), actions[outside][0]
            raise ValueError(
                f"{where}, frame {frame}: found the action {found}, expected one within the bounds in meta/stats.json: they are not "
                "those of this data; without that file they are taken from the data"
            )
        actions[~known] = np.clip(0, space.low, space.high) if isinstance(space, Box) else 0
        return actions, None if known.all() else known

    def _terminated(self, episode: LeRobotEpisode) -> bool:
        """Whether the last row says so. The few bytes of these columns are read a file at a time."""
        column = next((name for name in ENDS if name in self._layout.features), None)
        if column is None:
            return False
        if self._ends[0] != episode.data:
            self._ends = (episode.data, _last_flags(episode, column))
        return self._ends[1].get(episode.index, False)


def _last_flags(episode: LeRobotEpisode, column: str) -> dict[int, bool]:
    """By episode of a file the flag in its last row."""
    found: dict[int, bool] = {}
    columns = [column] if episode.alone else [column, EPISODE]
    for batch in batches_of(episode.data, columns, _ROWS):
        flags, _ = values_of(batch.column(column), 1, f"{episode.data}: column {column!r}")
        indices = (
            np.full(batch.num_rows, episode.index)
            if episode.alone
            else batch.column(EPISODE).to_numpy(zero_copy_only=False)
        )
        last = np.flatnonzero(np.diff(indices, append=-1))
        found |= zip(indices[last].tolist(), flags[last, 0].astype(bool).tolist(), strict=True)
    return found


def _outside(space: Box | Discrete, actions: NDArray[Any]) -> NDArray[np.bool_]:
    """Which entries are out of bounds, bool of the shape of ``actions``."""
    if isinstance(space, Discrete):
        return (actions < 0) | (actions >= space.count)
    return (actions < np.array(space.low, np.float32)) | (actions > np.array(space.high, np.float32))
