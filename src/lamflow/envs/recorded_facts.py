"""What an environment is that there are recordings of, as their source describes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from lamflow.envs.interface import SPLITS, Split
from lamflow.envs.recorded_settings import RecordedSettings, SplitSettings
from lamflow.envs.recorded_splits import shared_out
from lamflow.envs.spec import EnvironmentSpec
from lamflow.episodes.fit import FrameFit
from lamflow.episodes.interface import Described, EpisodeEntry, Source
from lamflow.episodes.settings import SourceSettings
from lamflow.spaces import ActionSpace, Box, Discrete, Unknown

RERUNS_NOTHING = "An environment's facts are among the params of the stages that it has."

RECORDED = "recorded"
UNKNOWN_STEPS = 1_000_000
"""ASSUME: no episode whose length only decoding tells is longer."""


def describe(settings: RecordedSettings, name: str) -> EnvironmentSpec:
    """The facts of the recordings, found without decoding all of them.

    ``own`` holds what their import must know (``frames``, ``splits``), of each split the number of its ``episodes`` and ``rows`` (None
    where only decoding tells), and what a person should know (``notes``). ValueError where they cannot be used.
    """
    fit = FrameFit(**settings.frames.model_dump())
    source: Source = settings.episodes.build(fit=fit)
    found = listed(source, settings.episodes)
    action = _action(settings, source, found)
    return EnvironmentSpec(
        name=name,
        family=RECORDED,
        observation=found.observation,
        action=action,
        main=found.main,
        max_steps=_longest(found),
        final_observations=found.final_observations,
        action_names=_action_names(settings, found, action),
        own=own_facts(found, fit, settings.splits, settings.licence),
    )


def listed(source: Source, settings: SourceSettings) -> Described:
    """What a source of these settings holds; ValueError, which names the key, where it cannot be used, or is empty."""
    try:
        found = source.describe()
    except ValueError as error:
        raise ValueError(f"episodes: {error}") from None
    if not found.episodes:
        raise ValueError(f"episodes: {', '.join(settings.files)}: found no episode, expected at least three")
    return found


def own_facts(found: Described, fit: FrameFit, settings: SplitSettings, licence: str | None = None) -> dict[str, Any]:
    """What the import of recordings must know, and what a person should."""
    splits = shared_out(found.episodes, settings)
    return {
        "demonstrator": RECORDED,
        "frames": asdict(fit),
        "splits": settings.model_dump(mode="json"),
        "episodes": {split: splits.count(split) for split in SPLITS},
        "rows": {split: _rows(found.episodes, splits, split) for split in SPLITS},
        "lossy": found.lossy,
        "frames_per_second": found.frames_per_second,
        "licence": licence or found.licence,
        "notes": list(found.notes),
        "recording": dict(found.facts),
    }


def _longest(found: Described) -> int:
    """The most actions of an episode."""
    rows = [episode.rows for episode in found.episodes]
    known = [count for count in rows if count is not None]
    longest = max(known, default=0) - found.final_observations
    return max(1, longest) if len(known) == len(rows) else UNKNOWN_STEPS


def _rows(episodes: Sequence[EpisodeEntry], splits: Sequence[Split], split: Split) -> int | None:
    rows = [episode.rows for episode, of in zip(episodes, splits, strict=True) if of == split]
    known = [count for count in rows if count is not None]
    return sum(known) if len(known) == len(rows) else None


def _action(settings: RecordedSettings, source: Source, found: Described) -> ActionSpace:
    """With as many discrete actions as the configuration says. ValueError, which names the first one beyond, where it says fewer."""
    declared = settings.actions
    if found.action is None or isinstance(found.action, Unknown):
        return Unknown() if declared is None else Discrete(declared)
    if isinstance(found.action, Box):
        if declared is not None:
            raise ValueError(
                f"actions: found {declared}, and actions of {len(found.action.low)} continuous entries, expected null: leave it out"
            )
        return found.action
    if declared is not None and found.action.count > declared:
        raise ValueError(
            f"actions: found {declared}, expected at least {found.action.count}: {_first_beyond(source, declared)}; actions are counted "
            "from 0"
        )
    return Discrete(max(2, found.action.count, declared or 0))


def _first_beyond(source: Source, declared: int) -> str:
    """Where the first action beyond the declared ones stands. It may take a while, and says what to mend."""
    for episode in source.episodes():
        first = 0
        for piece in episode.pieces:
            rows = len(next(iter(piece.observations.values())))
            if piece.actions is not None:
                beyond = piece.actions >= declared
                beyond &= True if piece.labelled is None else piece.labelled
                if beyond.any():
                    row = int(np.argmax(beyond))
                    return f"episode {episode.entry.name!r}, row {first + row}: found the action {piece.actions[row]}"
            first += rows
    return "found more in the recordings"


def _action_names(settings: RecordedSettings, found: Described, action: Any) -> tuple[str, ...]:
    if not isinstance(action, Discrete):
        return ()
    numbers = tuple(f"action {index}" for index in range(action.count))
    names = settings.action_names or (*found.action_names, *numbers[len(found.action_names) :])
    if len(names) != action.count or len(set(names)) != len(names):
        raise ValueError(f"action_names: found {', '.join(names)}, expected {action.count} different names")
    return names
