"""Recorded episodes in HDF5 files, read by slices."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from itertools import groupby
from math import prod
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from lamflow.episodes.array_parts import RecordedPart, RecordedPicture, finite_rows, fitted, note_of_pictures
from lamflow.episodes.fit import FrameFit
from lamflow.episodes.hdf5_columns import Columns, recorded_parts
from lamflow.episodes.hdf5_file import arrays_in, named_damage, opened
from lamflow.episodes.hdf5_layouts import Found, StoredEpisode, episodes_in
from lamflow.episodes.hdf5_settings import Hdf5Settings
from lamflow.episodes.interface import Described, Piece, RecordedEpisode
from lamflow.episodes.row_slices import row_slices
from lamflow.episodes.seen_actions import SeenActions, as_actions


class Hdf5Source:
    """The episodes of HDF5 files. An episode of L actions has L rows; ``next_obs`` gives nothing that the next row does not.
    All rows have an action, or none has: ``labelled`` of entries is None."""

    def __init__(self, *, settings: Hdf5Settings, fit: FrameFit) -> None:
        self._settings, self._fit = settings, fit

    def describe(self) -> Described:
        """Shapes and flags are looked at, and all actions are read once, in chunks, for their bounds."""
        return self._described

    def episodes(self, names: Collection[str] | None = None) -> Iterator[RecordedEpisode]:
        """Of these names, or all. ValueError names the file, the group and the row that cannot be used."""
        chosen = [stored for stored in self._found.episodes if names is None or stored.entry.name in names]
        for path, of_file in groupby(chosen, key=lambda stored: stored.path):
            with opened(path) as file:
                for stored in of_file:
                    yield RecordedEpisode(stored.entry, self._pieces(file, stored), terminated=stored.terminated)

    @cached_property
    def _found(self) -> Found:
        return episodes_in(self._settings, self._fit)

    @cached_property
    def _described(self) -> Described:
        found = self._found
        observation = {
            name: fitted(part, self._fit, f"{self._settings.path}: part {name!r}") for name, part in found.parts.items()
        }
        actions = self._seen_actions()
        facts = {"format": f"hdf5, layout {found.layout}", "keys": {**found.columns.parts}, **found.facts}
        rate = facts.pop("frames_per_second", None)
        main = found.parts[found.columns.main]
        if isinstance(main, RecordedPicture):
            facts["recorded_size"] = [main.height, main.width]
        notes = [note for name, part in found.parts.items() for note in note_of_pictures(name, part)]
        return Described(
            observation=observation,
            main=found.columns.main,
            action=actions.space(),
            episodes=tuple(stored.entry for stored in found.episodes),
            frames_per_second=None if rate is None else float(rate),
            notes=(*found.notes, *notes, *actions.notes()),
            facts=facts,
        )

    def _seen_actions(self) -> SeenActions:
        bounds = None if self._settings.action_bounds == "data" else self._settings.action_bounds
        seen, key = SeenActions(bounds=bounds), self._found.columns.actions
        if key is None:
            return seen
        for path, of_file in groupby(self._found.episodes, key=lambda stored: stored.path):
            with opened(path) as file:
                for group in dict.fromkeys(stored.group for stored in of_file):
                    array, what = file[f"{group}/{key}"], f"{path}: {group}/{key}" if group else f"{path}: {key}"
                    for rows in _slices([array], 0, len(array)):
                        seen.add(as_actions(_rows(array, rows, what), what, rows.start), what, rows.start)
        return seen

    def _pieces(self, file: h5py.File, stored: StoredEpisode) -> Iterator[Piece]:
        columns = self._found.columns
        arrays = arrays_in(file[stored.group or "/"])
        parts = recorded_parts(arrays, columns, stored.what)
        for rows in _slices([arrays[key] for key in columns.parts.values()], stored.start, stored.stop):
            yield self._piece(arrays, parts, columns, rows, stored.what)

    def _piece(
        self,
        arrays: Mapping[str, h5py.Dataset],
        parts: Mapping[str, RecordedPart],
        columns: Columns,
        rows: slice,
        what: str,
    ) -> Piece:
        observations = {
            name: parts[name].read(_rows(arrays[key], rows, f"{what}: {key}"), self._fit, f"{what}: {key}", rows.start)
            for name, key in columns.parts.items()
        }
        actions = rewards = None
        if columns.actions is not None:
            named = f"{what}: {columns.actions}"
            actions = as_actions(_rows(arrays[columns.actions], rows, named), named, rows.start)
        if columns.rewards is not None:
            named = f"{what}: {columns.rewards}"
            rewards = finite_rows(_rows(arrays[columns.rewards], rows, named), named, rows.start).reshape(-1)
        return Piece(observations, actions, rewards=rewards)


def _rows(array: h5py.Dataset, rows: slice, what: str) -> NDArray[Any]:
    with named_damage(what):
        return np.asarray(array[rows])


def _slices(arrays: list[h5py.Dataset], start: int, stop: int) -> Iterator[slice]:
    """Slices of rows such that those of ``arrays`` are of bounded size."""
    row_bytes = sum(array.dtype.itemsize * prod(array.shape[1:]) for array in arrays)
    largest = max(arrays, key=lambda array: array.nbytes)
    return row_slices(start, stop, row_bytes=row_bytes, chunk=largest.chunks[0] if largest.chunks else 1)
