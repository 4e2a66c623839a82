"""Recorded episodes that an import has read, kept in stores of some hundred megabytes: one that was killed goes on behind the last one.

Shapes: N rows of a part, n rows of a piece.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamflow.data.chunk_reader import RowReader
from lamflow.data.group_reader import load_metadata
from lamflow.data.group_writer import ArraySpec, GroupWriter
from lamflow.data.store import array_of
from lamflow.envs.spec import EnvironmentSpec
from lamflow.episodes.interface import Piece, RecordedEpisode

PART_BYTES = 512 << 20
"""Of decoded rows, after which a part ends with the episode."""
PART_SECONDS = 30.0
"""The same of time, so that no more of it is lost than this and the time of an episode."""
BLOCK_BYTES = 8 << 20
"""Of what is read of a part at once."""
BLOCK_ROWS = 4096
_NAME = re.compile(r"\d{9}\.zarr")


@dataclass(frozen=True)
class KeptEpisode:
    """An episode that has been read: its place among those of the source, the part in which it is, and its rows among those of the part."""

    place: int
    part: Path
    part_rows: int
    start: int
    num_rows: int
    terminated: bool


class KeptParts:
    """The parts in ``folder``, whose episodes follow one another from the first one on. What is half-written there is removed."""

    def __init__(self, folder: Path, spec: EnvironmentSpec) -> None:
        self.folder = folder
        self._spec = spec
        self._arrays = _arrays_of(spec)
        self._row_bytes = sum(np.dtype(array.dtype).itemsize * prod(array.row_shape) for array in self._arrays)
        folder.mkdir(parents=True, exist_ok=True)
        for other in folder.iterdir():
            if not _NAME.fullmatch(other.name):
                shutil.rmtree(other)
        self.episodes = [episode for part in sorted(folder.iterdir()) for episode in _episodes_of(part)]
        assert [episode.place for episode in self.episodes] == list(range(len(self.episodes)))

    def keep(self, episodes: Iterable[RecordedEpisode], told: Callable[[int], None]) -> None:
        """Read further episodes, those behind the ones that are kept, in order. ``told`` is called with the rows of each piece."""
        waiting = iter(episodes)
        while (episode := next(waiting, None)) is not None:
            self._write_part(episode, waiting, told)

    def pieces(self, episode: KeptEpisode) -> Iterator[Piece]:
        """The rows of a kept episode, in pieces whose sizes depend on the environment alone."""
        readers = {
            array.name: RowReader(
                episode.part / array.name, array, episode.part_rows, array.chunk_rows, array.shard_rows
            )
            for array in self._arrays
        }
        rows = max(1, min(BLOCK_ROWS, BLOCK_BYTES // self._row_bytes))
        for start in range(episode.start, episode.start + episode.num_rows, rows):
            stop = min(start + rows, episode.start + episode.num_rows)
            values = {name: reader.read(start, stop) for name, reader in readers.items()}
            yield Piece(
                observations={name: values[array_of(name)] for name in self._spec.observation},
                actions=values["actions"],
                labelled=values["labelled"],
                rewards=values["rewards"],
            )

    def _write_part(
        self, episode: RecordedEpisode | None, waiting: Iterator[RecordedEpisode], told: Callable[[int], None]
    ) -> None:
        """Write a part that begins with ``episode``; others follow from ``waiting`` until it is large enough."""
        path = self.folder / f"{len(self.episodes):09d}.zarr"
        started, borders, terminated = time.monotonic(), [0], []
        with GroupWriter(path, self._arrays) as group:
            while episode is not None:
                for piece in episode.pieces:
                    told(_append(group, self._spec, piece))
                borders.append(group.num_rows("actions"))
                terminated.append(episode.terminated)
                is_full = borders[-1] * self._row_bytes >= PART_BYTES
                if is_full or time.monotonic() - started >= PART_SECONDS:
                    break
                episode = next(waiting, None)
            group.attributes = {"first": len(self.episodes), "borders": borders, "terminated": terminated}
        self.episodes += _episodes_of(path)


def _episodes_of(part: Path) -> list[KeptEpisode]:
    attributes = load_metadata(part)
    first, borders = attributes["first"], attributes["borders"]
    return [
        KeptEpisode(first + place, part, borders[-1], start, end - start, terminated)
        for place, ((start, end), terminated) in enumerate(
            zip(pairwise(borders), attributes["terminated"], strict=True)
        )
    ]


def _append(group: GroupWriter, spec: EnvironmentSpec, piece: Piece) -> int:
    """Append the rows of a piece, and say how many they are."""
    columns = _columns(spec, piece)
    for name, values in columns.items():
        group.append(name, values)
    return len(columns["actions"])


def _arrays_of(spec: EnvironmentSpec) -> tuple[ArraySpec, ...]:
    return (
        *(ArraySpec(array_of(name), part.dtype, part.shape) for name, part in spec.observation.items()),
        ArraySpec("actions", spec.action.dtype, spec.action.shape),
        ArraySpec("labelled", "bool"),
        ArraySpec("rewards", "float32"),
    )


def _columns(spec: EnvironmentSpec, piece: Piece) -> dict[str, NDArray[Any]]:
    """All arrays of a piece [n, ...]."""
    count = len(piece.observations[spec.main])
    columns = {array_of(name): piece.observations[name] for name in spec.observation}
    if piece.actions is None:
        columns["actions"] = np.zeros((count, *spec.action.shape), spec.action.dtype)
        columns["labelled"] = np.zeros(count, np.bool_)
    else:
        columns["actions"] = piece.actions.astype(spec.action.dtype, copy=False)
        columns["labelled"] = np.ones(count, np.bool_) if piece.labelled is None else piece.labelled
    columns["rewards"] = np.zeros(count, np.float32) if piece.rewards is None else piece.rewards.astype(np.float32)
    return columns
