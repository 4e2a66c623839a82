"""Episodes of lamflow's own stores (docs/data-formats.md). They are read by zarr itself: what writes stores stands above this room.

Shapes: N rows of a store, n rows of a piece.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from lamflow.episodes.fit import FrameFit
from lamflow.episodes.interface import Described, EpisodeEntry, Piece, RecordedEpisode
from lamflow.episodes.pieces import rows_per_piece, spans
from lamflow.episodes.zarr_settings import ZarrSettings
from lamflow.spaces import ACTION_KINDS, PART_KINDS, ActionSpace, Box, Discrete, Part, Pixels, from_facts

FORMAT, VERSION = "lamflow-episodes", 2


@dataclass(frozen=True)
class _Store:
    """An opened store: its facts, and the first rows of its episodes with the end of the last."""

    path: Path
    group: Any
    attributes: Mapping[str, Any]
    observation: Mapping[str, Part]
    action: ActionSpace
    borders: NDArray[np.int64]
    entries: tuple[EpisodeEntry, ...]

    @property
    def main(self) -> str:
        return str(self.attributes["environment"]["main"])

    @property
    def final_observations(self) -> bool:
        return bool(self.attributes["final_observations"])


class ZarrSource:
    """See ``ZarrSettings``."""

    def __init__(self, *, settings: ZarrSettings, fit: FrameFit) -> None:
        self.settings = settings
        self.fit = fit

    def describe(self) -> Described:
        """Found from what the stores say of themselves."""
        first = self._stores[0]
        facts = first.attributes["environment"]
        return Described(
            observation={name: self._shown(first, name) for name in first.observation},
            main=first.main,
            action=first.action if any(_has_actions(store) for store in self._stores) else None,
            episodes=tuple(entry for store in self._stores for entry in store.entries),
            final_observations=first.final_observations,
            lossy=any(bool(store.attributes.get("lossy")) for store in self._stores),
            action_names=tuple(facts.get("action_names", ())),
            licence=str(first.attributes.get("licence", "unknown")),
            facts={"environment": facts["name"], "source": str(first.attributes.get("source", ""))},
        )

    def episodes(self, names: Collection[str] | None = None) -> Iterator[RecordedEpisode]:
        """As they stand in the stores, one store after the other."""
        for store in self._stores:
            terminated = store.group["terminated"]
            for place, entry in enumerate(store.entries):
                if names is None or entry.name in names:
                    last = int(store.borders[place + 1]) - 1 - store.final_observations
                    yield RecordedEpisode(entry, self._pieces(store, place), terminated=bool(terminated[last]))

    @cached_property
    def _stores(self) -> list[_Store]:
        paths = self.settings.stores
        if not paths:
            raise ValueError(
                f"{self.settings.path}: found no store, expected one (a folder with zarr.json), or train.zarr, validation.zarr and "
                "test.zarr in it"
            )
        stores = [_opened(path) for path in paths]
        for store in stores[1:]:
            for name in ("observation", "action", "main", "final_observations"):
                one, other = getattr(stores[0], name), getattr(store, name)
                if one != other:
                    raise ValueError(
                        f"{store.path}: found {name} {other}, and {stores[0].path} has {one}, expected the same"
                    )
        return stores

    def _shown(self, store: _Store, name: str) -> Part:
        part = store.observation[name]
        if not isinstance(part, Pixels):
            return part
        return Pixels((*self.fit.shape_of(*part.shape[:2]), 3))

    def _pieces(self, store: _Store, place: int) -> Iterator[Piece]:
        start, stop = (int(row) for row in store.borders[place : place + 2])
        for low, high in spans(stop - start, rows_per_piece(store.observation)):
            rows = slice(start + low, start + high)
            actions = _read(store, "actions", rows)
            yield Piece(
                observations={name: self._observed(store, name, rows) for name in store.observation},
                actions=actions if _has_actions(store) else None,
                labelled=_read(store, "labelled", rows) if "labelled" in store.group else None,
                rewards=_read(store, "rewards", rows),
            )

    def _observed(self, store: _Store, name: str, rows: slice) -> NDArray[Any]:
        values = _read(store, f"observation/{name}", rows)
        return self.fit.frames(values) if isinstance(store.observation[name], Pixels) else values


def _has_actions(store: _Store) -> bool:
    """Whether any row's action is known."""
    return isinstance(store.action, Discrete | Box) and store.attributes.get("actions", "all") != "none"


def _read(store: _Store, name: str, rows: slice) -> NDArray[Any]:
    try:
        return np.asarray(store.group[name][rows])
    except Exception as error:  # whatever the codecs raise of a damaged file
        raise ValueError(
            f"{store.path}: array {name!r}, rows {rows.start} to {rows.stop - 1}: damaged ({type(error).__name__}: {error}): copy the "
            "store again"
        ) from error


def _opened(path: Path) -> _Store:
    try:
        group: Any = zarr.open_group(path, mode="r")
        attributes: dict[str, Any] = dict(group.attrs)
    except Exception as error:  # whatever zarr raises of a damaged file
        raise ValueError(
            f"{path}: could not be opened ({type(error).__name__}: {error}), expected a store of lamflow: copy it again"
        ) from error
    found = (attributes.get("format"), attributes.get("format_version"))
    if found != (FORMAT, VERSION) or not attributes.get("complete"):
        raise ValueError(
            f"{path}: found format {found[0]!r}, version {found[1]!r}, expected {FORMAT!r}, version {VERSION}, written to its end"
        )
    facts = attributes["environment"]
    parts = {name: from_facts(part, f"{path}: {name}", PART_KINDS) for name, part in facts["observation"].items()}
    action: ActionSpace = from_facts(facts["action"], f"{path}: actions", ACTION_KINDS)
    starts, levels = (np.asarray(group[name][:], np.int64) for name in ("episode_starts", "level_seeds"))
    borders = np.append(starts, int(attributes["num_rows"]))
    rows, split = np.diff(borders).tolist(), attributes["split"]
    labelled = np.logical_or.reduceat(group["labelled"][:], starts).tolist() if "labelled" in group else None
    entries = tuple(
        EpisodeEntry(
            name := f"{split}-{place}",
            rows[place],
            f"level {level}" if level >= 0 else name,
            labelled[place] if labelled else None,
        )
        for place, level in enumerate(levels.tolist())
    )
    return _Store(path, group, attributes, parts, action, borders, entries)
