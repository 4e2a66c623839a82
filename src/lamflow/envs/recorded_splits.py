"""Which recorded episodes are for training, validation and test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lamflow.envs.interface import SPLITS, Split
from lamflow.envs.recorded_settings import SplitSettings
from lamflow.episodes.interface import EpisodeEntry


def shared_out(episodes: Sequence[EpisodeEntry], settings: SplitSettings) -> list[Split]:
    """The split of each episode: drawn from the seed, none of them empty, no group in two where splits are by group. ValueError where there
    are too few."""
    keys = [episode.group if settings.by == "group" else episode.name for episode in episodes]
    units = list(dict.fromkeys(keys))
    what = f"{settings.by}s"
    if len(units) < len(SPLITS):
        raise ValueError(
            f"splits.by: found {len(units)} {what if len(units) != 1 else settings.by}, expected at least {len(SPLITS)}: one for each of "
            f"{', '.join(SPLITS)}"
        )
    drawn = np.random.default_rng(settings.seed).permutation(len(units))
    ends = np.cumsum(_counts(len(units), settings.fractions))
    split_of = {units[unit]: SPLITS[int(np.searchsorted(ends, place, "right"))] for place, unit in enumerate(drawn)}
    return [split_of[key] for key in keys]


def _counts(num_units: int, fractions: Sequence[float]) -> list[int]:
    """How many are in each split: at least one, else as near as can be to the fractions."""
    counts = [max(1, int(num_units * fraction + 1e-9)) for fraction in fractions]
    while sum(counts) < num_units:
        short = [num_units * fraction - count for fraction, count in zip(fractions, counts, strict=True)]
        counts[int(np.argmax(short))] += 1
    while sum(counts) > num_units:
        counts[int(np.argmax(counts))] -= 1
    return counts
