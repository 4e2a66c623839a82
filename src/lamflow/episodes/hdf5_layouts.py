"""The episodes of HDF5 files: groups of robomimic's layout, rows between the flags of D4RL's, or whole files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lamflow.episodes.array_parts import RecordedPart
from lamflow.episodes.fit import FrameFit
from lamflow.episodes.hdf5_columns import (
    Columns,
    check_alike,
    check_present,
    columns_of,
    recorded_parts,
)
from lamflow.episodes.hdf5_file import DEMOS, arrays_in, files_at, flags_of, layout_of, listed, natural_order, opened
from lamflow.episodes.hdf5_settings import Hdf5Settings, Layout
from lamflow.episodes.interface import EpisodeEntry


@dataclass(frozen=True)
class StoredEpisode:
    """Where an episode lies: rows ``start`` to ``stop`` of the arrays of ``group``, ``""`` for the file itself."""

    path: Path
    group: str
    start: int
    stop: int
    entry: EpisodeEntry
    terminated: bool

    @property
    def what(self) -> str:
        """For messages."""
        return f"{self.path}: {self.group}" if self.group else str(self.path)


@dataclass(frozen=True)
class Found:
    """What the files hold. ``parts``: those of the first episode."""

    layout: Layout
    columns: Columns
    parts: Mapping[str, RecordedPart]
    episodes: tuple[StoredEpisode, ...]
    notes: tuple[str, ...]
    facts: Mapping[str, Any]


def episodes_in(settings: Hdf5Settings, fit: FrameFit) -> Found:
    """The episodes at ``settings.path``, in natural order; shapes and flags are looked at, no observation is read. ValueError names the
    file and the group that cannot be used."""
    root = Path(settings.path)
    survey = _Survey(settings, fit, root)
    for path in files_at(root):
        with opened(path) as file:
            survey.add(file, path)
    return survey.found()


class _Survey:
    """Looks at files one after another, and compares all with the first."""

    def __init__(self, settings: Hdf5Settings, fit: FrameFit, root: Path) -> None:
        self._settings, self._fit, self._root = settings, fit, root
        self._layout: Layout = settings.layout
        self._columns: Columns | None = None
        self._parts: Mapping[str, RecordedPart] = {}
        self._episodes: list[StoredEpisode] = []
        self._notes: dict[str, None] = {}
        self._facts: dict[str, Any] = {}

    def add(self, file: h5py.File, path: Path) -> None:
        """Look at a file."""
        if self._layout == "auto":
            self._layout = layout_of(file) or "d4rl"
        name = "" if path == self._root else path.relative_to(self._root).with_suffix("").as_posix()
        if self._layout == "robomimic":
            self._facts |= _robomimic_facts(file)
            self._episodes += self._demos(file, path, name)
        else:
            self._episodes += self._rows(file, path, name)

    def found(self) -> Found:
        """What they hold."""
        assert self._columns is not None
        seen: dict[str, Path] = {}
        for stored in self._episodes:
            name, path = stored.entry.name, stored.path
            if name in seen:
                raise ValueError(
                    f"{path}: found episode {name}, which is in {seen[name]}, too: rename one of the files"
                )
            seen[name] = path
        return Found(
            layout=self._layout,
            columns=self._columns,
            parts=self._parts,
            episodes=tuple(self._episodes),
            notes=(*self._columns.notes, *self._notes),
            facts=self._facts,
        )

    def _checked(self, arrays: Mapping[str, h5py.Dataset], what: str) -> Columns:
        """The columns, of arrays that have them all."""
        if self._columns is None:
            self._columns = columns_of(arrays, self._settings, what)
            self._parts = recorded_parts(arrays, self._columns, what)
        check_present(arrays, self._columns, what)
        check_alike(recorded_parts(arrays, self._columns, what), self._parts, self._fit, what)
        return self._columns

    def _demos(self, file: h5py.File, path: Path, name: str) -> Iterator[StoredEpisode]:
        demos = file.get(DEMOS)
        names = (
            [demo for demo in demos if isinstance(demos.get(demo), h5py.Group)] if isinstance(demos, h5py.Group) else []
        )
        if not names:
            raise ValueError(
                f"{path}: found no group per episode in a group {DEMOS!r}, expected robomimic's layout; what is there: "
                f"{listed(arrays_in(file))}"
            )
        groups = _masks(file)
        for demo in sorted(names, key=natural_order):
            group = f"{DEMOS}/{demo}"
            arrays = arrays_in(file[group])
            columns = self._checked(arrays, f"{path}: {group}")
            rows = len(arrays[columns.parts[columns.main]])
            terminated = columns.dones is not None and bool(np.any(arrays[columns.dones][-1]))
            entry = EpisodeEntry(f"{name}/{demo}" if name else demo, rows, groups.get(demo, name))
            yield StoredEpisode(path, group, 0, rows, entry, terminated)

    def _rows(self, file: h5py.File, path: Path, name: str) -> Iterator[StoredEpisode]:
        arrays = arrays_in(file)
        columns = self._checked(arrays, str(path))
        rows = len(arrays[columns.parts[columns.main]])
        flags = {
            key: flags_of(arrays[key], f"{path}: {key}") for key in (columns.dones, columns.timeouts) if key is not None
        }
        for index, (start, stop) in enumerate(pairwise(self._borders(flags, columns, rows, path))):
            own = path.stem if self._layout == "file" else f"episode_{index}"
            in_file = name if self._layout == "file" else f"{name}/{own}"
            terminated = columns.dones is not None and bool(flags[columns.dones][stop - 1])
            entry = EpisodeEntry(in_file if name else own, stop - start, "" if self._layout == "file" else name)
            yield StoredEpisode(path, "", start, stop, entry, terminated)

    def _borders(self, flags: Mapping[str, Any], columns: Columns, rows: int, path: Path) -> list[int]:
        """The first rows of the episodes, and the end."""
        if self._layout == "file":
            return [0, rows]
        if self._settings.episode_length is not None:
            return [*range(0, rows, self._settings.episode_length), rows]
        ends = np.flatnonzero(np.any([*flags.values()], axis=0)) + 1 if flags else np.zeros(0, int)
        if not len(ends):
            found = " and ".join(f"{key}, which is 0 in all {rows} rows" for key in flags) or "no flag"
            raise ValueError(
                f"{path}: found {found}, expected flags that end episodes, such as terminals and timeouts: say which arrays they are "
                "(keys.dones, keys.timeouts), how many rows an episode has (episode_length), or that a file is one episode (layout: file)"
            )
        if columns.timeouts is None or columns.dones is None:
            missing, there = (
                ("timeouts", columns.dones) if columns.timeouts is None else ("terminals", columns.timeouts)
            )
            self._notes[
                f"there are no {missing}: episodes end where {there} says alone; one that ended otherwise runs on into the next"
            ] = None
        return [0, *ends.tolist()] if ends[-1] == rows else [0, *ends.tolist(), rows]


def _masks(file: h5py.File) -> dict[str, str]:
    """Of each episode the list in ``mask`` that names it: train or valid, else the first."""
    masks = file.get("mask")
    if not isinstance(masks, h5py.Group):
        return {}
    groups: dict[str, str] = {}
    for mask in sorted(masks, key=lambda mask: (mask not in ("train", "valid"), mask)):
        for demo in np.asarray(masks[mask]).reshape(-1).tolist():
            groups.setdefault(demo.decode() if isinstance(demo, bytes) else str(demo), mask)
    return groups


def _robomimic_facts(file: h5py.File) -> dict[str, Any]:
    """The environment's name, and how often per second it acts, as ``env_args`` says."""
    try:
        written = file[DEMOS].attrs["env_args"]
        arguments = json.loads(written)
        kwargs = arguments.get("env_kwargs") or {}
        facts = {"environment_id": arguments.get("env_name"), "frames_per_second": kwargs.get("control_freq")}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}
    return {key: value for key, value in facts.items() if isinstance(value, str | int | float)}
