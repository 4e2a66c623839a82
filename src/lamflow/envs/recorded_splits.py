"""Which recorded episodes are for training, validation and test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lamflow.envs.interface import SPLITS, Split
from lamflow.envs.recorded_settings import SplitSettings
from lamflow.episodes.interface import EpisodeEntry

LEAST_LABELLED = ((0, 0, 0), (1, 0, 0), (1, 0, 1), (1, 1, 1))
"""Of none, one, two and more labelled episodes or groups, how many at least are for train, validation and test."""


def shared_out(episodes: Sequence[EpisodeEntry], settings: SplitSettings) -> list[Split]:
    """The split of each episode: drawn from the seed, none of them empty, no group in two where splits are by group. ValueError where there
    are too few.

    Where the actions of some episodes or groups are known and of others not, both kinds are shared out by the fractions, each by itself:
    each split has labelled ones where there are three, two are for train and test, and one is for train.
    """
    keys = [episode.group if settings.by == "group" else episode.name for episode in episodes]
    units = list(dict.fromkeys(keys))
    what = f"{settings.by}s"
    if len(units) < len(SPLITS):
        raise ValueError(
            f"splits.by: found {len(units)} {what if len(units) != 1 else settings.by}, expected at least {len(SPLITS)}: one for each of "
            f"{', '.join(SPLITS)}"
        )
    known = {key for key, episode in zip(keys, episodes, strict=True) if episode.labelled}
    labelled, others = [unit for unit in units if unit in known], [unit for unit in units if unit not in known]
    counts = _counts(len(labelled), settings.fractions, LEAST_LABELLED[min(len(labelled), len(SPLITS))])
    missing = [int(count == 0) for count in counts]
    generator = np.random.default_rng(settings.seed)
    split_of = _drawn(labelled, counts, generator)
    split_of |= _drawn(others, _counts(len(others), settings.fractions, missing), generator)
    return [split_of[key] for key in keys]


def _drawn(units: Sequence[str], counts: Sequence[int], generator: np.random.Generator) -> dict[str, Split]:
    ends = np.cumsum(counts)
    drawn = generator.permutation(len(units))
    return {units[unit]: SPLITS[int(np.searchsorted(ends, place, "right"))] for place, unit in enumerate(drawn)}


def _counts(num_units: int, fractions: Sequence[float], least: Sequence[int]) -> list[int]:
    """How many are in each split: at least so many, else as near as can be to the fractions."""
    counts = [max(few, int(num_units * fraction + 1e-9)) for fraction, few in zip(fractions, least, strict=True)]
    while sum(counts) < num_units:
        short = [num_units * fraction - count for fraction, count in zip(fractions, counts, strict=True)]
        counts[int(np.argmax(short))] += 1
    while sum(counts) > num_units:
        counts[int(np.argmax(np.subtract(counts, least)))] -= 1
    return counts
