"""Recorded episodes of Minari, read by its own package, one episode at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from typing import Any

import minari
import numpy as np
from numpy.typing import NDArray

from lamflow.episodes.array_parts import RecordedPicture, finite_rows, fitted, note_of_pictures
from lamflow.episodes.fit import FrameFit
from lamflow.episodes.interface import Described, EpisodeEntry, Piece, RecordedEpisode
from lamflow.episodes.minari_files import ActionColumn, named_damage
from lamflow.episodes.minari_settings import METADATA, MinariSettings
from lamflow.episodes.minari_spaces import MinariActions, MinariPart, actions_of, main_of, parts_of
from lamflow.episodes.row_slices import row_slices
from lamflow.episodes.seen_actions import SeenActions


class MinariSource:
    """The episodes of a data set of Minari. An episode of L actions has L + 1 observations, and as many rows.
    All actions are known: ``labelled`` of entries is None."""

    def __init__(self, *, settings: MinariSettings, fit: FrameFit) -> None:
        self._settings, self._fit = settings, fit
        self._data = settings.folder / "data"

    def describe(self) -> Described:
        """Reads the metadata, and all actions once, for their bounds."""
        return self._described

    def episodes(self, names: Collection[str] | None = None) -> Iterator[RecordedEpisode]:
        """Of these names, or all. An episode is decoded whole, as Minari reads it. ValueError names the episode and the row that cannot be
        used."""
        for index, entry in enumerate(self.describe().episodes):
            if names is None or entry.name in names:
                episode = self._read(index, entry)
                yield RecordedEpisode(
                    entry, self._pieces(episode, self._what(entry)), terminated=bool(episode["terminations"][-1])
                )

    @cached_property
    def _dataset(self) -> Any:
        """ValueError where there is no data set, or none that the installed Minari reads."""
        folder, name = self._settings.folder, self._settings.id
        if not (self._data / METADATA).is_file():
            cure = f"; fetch it with `minari download {name}`" if name else ", which holds the folder data"
            raise ValueError(f"{folder}: found no data set of Minari, expected its folder{cure}")
        with named_damage(str(folder)):
            return minari.MinariDataset(str(self._data))

    @cached_property
    def _parts(self) -> tuple[dict[str, MinariPart], list[str]]:
        return self._named(lambda: parts_of(self._dataset.observation_space, self._settings.parts))

    @cached_property
    def _actions(self) -> MinariActions:
        return self._named(lambda: actions_of(self._dataset.action_space))

    @cached_property
    def _described(self) -> Described:
        parts, left_out = self._parts
        main = self._named(lambda: main_of(parts, self._settings.main))
        observation = {
            name: fitted(part.recorded, self._fit, f"{self._settings.folder}: part {name!r}")
            for name, part in parts.items()
        }
        episodes, actions = self._seen()
        metadata = self._dataset.storage.metadata
        compressed = bool(metadata.get("jpeg_encoding", True))
        lossy = [name for name, part in parts.items() if compressed and part.compressible]
        return Described(
            observation=observation,
            main=main,
            action=actions.space(),
            episodes=tuple(episodes),
            final_observations=True,
            lossy=bool(lossy),
            action_names=self._actions.names,
            notes=(*_notes(parts, left_out, lossy), *self._actions.notes, *actions.notes()),
            facts=_facts(metadata, parts[main]),
        )

    def _seen(self) -> tuple[list[EpisodeEntry], SeenActions]:
        """The episodes, and their actions, which are all read."""
        seen, episodes = SeenActions(bounds=self._bounds(), count=self._actions.count), []
        indices = [int(index) for index in self._dataset.episode_indices]
        if not indices:
            raise ValueError(f"{self._settings.folder}: found no episode, expected at least one")
        with ActionColumn(self._data, self._dataset.storage.FORMAT) as column:
            for index in indices:
                what, values = f"{self._data}: episode_{index}", column.read(index)
                seen.add(self._actions.read(values, what, 0), what, 0)
                episodes.append(EpisodeEntry(f"episode_{index}", len(values) + 1))
        return episodes, seen

    def _bounds(self) -> Any:
        asked = self._settings.action_bounds
        return {"space": self._actions.bounds, "data": None}[asked] if isinstance(asked, str) else asked

    def _read(self, index: int, entry: EpisodeEntry) -> Mapping[str, Any]:
        """An episode as Minari gives it; ValueError unless all of it has the rows that it should have."""
        what = self._what(entry)
        with named_damage(what):
            (episode,) = self._dataset.storage.get_episodes([index])
        rows = len(episode["rewards"])
        if rows == 0:
            raise ValueError(f"{what}: found no step, expected at least one: remove it")
        lengths = {key: (len(episode[key]), rows) for key in ("terminations", "truncations")}
        # Those of the column: of an arrow or parquet file, Minari gives no more than the first 131,072 rows.
        lengths["actions"] = ((entry.rows or 0) - 1, rows)
        for name, part in self._parts[0].items():
            lengths[f"observations, part {name!r}"] = (len(part.of(episode["observations"])), rows + 1)
        for key, (found, expected) in lengths.items():
            if found != expected:
                raise ValueError(
                    f"{what}: {key}: found {found} rows, expected {expected}, as it has {rows} rewards: Minari stores one observation more "
                    "than actions; mend or remove the episode"
                )
        return episode

    def _pieces(self, episode: Mapping[str, Any], what: str) -> Iterator[Piece]:
        arrays = {name: part.of(episode["observations"]) for name, part in self._parts[0].items()}
        actions = _with_final_row(self._actions.read(np.asarray(episode["actions"]), f"{what}: actions", 0))
        rewards = _with_final_row(finite_rows(np.asarray(episode["rewards"]), f"{what}: rewards", 0))
        row_bytes = sum(array.nbytes for array in arrays.values()) // len(actions)
        for rows in row_slices(0, len(actions), row_bytes=row_bytes):
            yield Piece(
                {
                    name: part.recorded.read(arrays[name][rows], self._fit, f"{what}: {name}", rows.start)
                    for name, part in self._parts[0].items()
                },
                actions[rows],
                rewards=rewards[rows],
            )

    def _what(self, entry: EpisodeEntry) -> str:
        return f"{self._data}: {entry.name}"

    def _named(self, found: Any) -> Any:
        """What ``found`` answers; its ValueError names the data set."""
        try:
            return found()
        except ValueError as error:
            raise ValueError(f"{self._settings.folder}: {error}") from None


def _with_final_row(values: NDArray[Any]) -> NDArray[Any]:
    """With a row of zeros for the final observation, in which nothing is done."""
    return np.concatenate([values, np.zeros((1, *values.shape[1:]), values.dtype)])


def _notes(parts: Mapping[str, MinariPart], left_out: list[str], lossy: list[str]) -> list[str]:
    notes = [note for name, part in parts.items() for note in note_of_pictures(name, part.recorded)]
    if left_out:
        notes.append(f"parts of the observations that are left out: {', '.join(left_out)}")
    if lossy:
        notes.append(
            f"{', '.join(lossy)}: Minari compressed these pictures as JPEG, its default, so that colours are not those that were recorded; "
            "`jpeg_encoding=False` writes them as they are"
        )
    return notes


def _facts(metadata: Mapping[str, Any], main: MinariPart) -> dict[str, Any]:
    facts = {"format": f"minari, {metadata['data_format']}"}
    for key in ("dataset_id", "minari_version", "algorithm_name", "code_permalink"):
        if isinstance(metadata.get(key), str):
            facts[key] = metadata[key]
    if isinstance(main.recorded, RecordedPicture):
        return {**facts, "recorded_size": [main.recorded.height, main.recorded.width]}
    return facts
