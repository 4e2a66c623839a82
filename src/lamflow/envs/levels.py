"""Levels and their splits. What a level id says, and how levels fall into splits, is the family's: ``lamflow.envs.<family>_family``."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lamflow.envs.families import DEFAULT_NUM_RULESETS, family_of
from lamflow.envs.interface import SPLITS, Split
from lamflow.envs.spec import EnvironmentSpec


def draw_levels(
    spec: EnvironmentSpec,
    split: Split,
    count: int,
    seed: int,
    num_rulesets: int = DEFAULT_NUM_RULESETS,
    *,
    all_levels: bool = False,
) -> NDArray[np.int64]:
    """``count`` level ids int64 of a split, the same for the same arguments; a longer draw starts with a shorter one.

    Repeats are possible (EmptyRandom has only some hundred levels). ``all_levels``: draw from all of Procgen's levels
    whatever the split, as LAPO does (``num_levels: 0``); splits then differ by their draws only. ValueError for an unknown
    split.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; known: {', '.join(SPLITS)}")
    generator = np.random.default_rng((seed, SPLITS.index(split)))
    return family_of(spec).draw_levels(spec, split, count, generator, num_rulesets=num_rulesets, all_levels=all_levels)


class LevelStream(Iterator[int]):
    """Endless levels of a split, drawn in chunks (see ``draw_levels``); ``position`` is what a checkpoint needs to go on from."""

    CHUNK = 4096

    def __init__(
        self,
        spec: EnvironmentSpec,
        split: Split,
        seed: int,
        position: int = 0,
        *,
        num_rulesets: int = DEFAULT_NUM_RULESETS,
        all_levels: bool = False,
    ) -> None:
        self.position = position
        self._draw = lambda chunk: draw_levels(
            spec, split, self.CHUNK, seed + 7919 * chunk, num_rulesets, all_levels=all_levels
        )
        self._chunk = -1
        self._levels = np.zeros(0, np.int64)

    def __next__(self) -> int:
        chunk, offset = divmod(self.position, self.CHUNK)
        if chunk != self._chunk:
            self._levels, self._chunk = self._draw(chunk), chunk
        self.position += 1
        return int(self._levels[offset])
