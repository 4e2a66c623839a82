"""Recorded episodes that are looked at while they are read: what is wrong is said by the source, the episode and the row.

Shapes: n rows of a piece.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamflow.data.actions import outside_bounds, said_bounds
from lamflow.envs.spec import EnvironmentSpec
from lamflow.episodes.interface import Piece, RecordedEpisode


def checked_episodes(
    episodes: Iterable[RecordedEpisode], spec: EnvironmentSpec, where: str
) -> Iterator[RecordedEpisode]:
    """The same episodes; ValueError, which begins with ``where`` they come from, for one that does not fit the environment."""
    for episode in episodes:
        yield replace(episode, pieces=_checked(episode, spec, f"{where}: episode {episode.entry.name!r}"))


def _checked(episode: RecordedEpisode, spec: EnvironmentSpec, what: str) -> Iterator[Piece]:
    rows = 0
    for piece in episode.pieces:
        _check_observations(piece, spec, what, rows)
        _check_actions(piece, spec, what, rows)
        if piece.rewards is not None:
            _refuse(~np.isfinite(piece.rewards), piece.rewards, what, rows, "the reward", "finite numbers")
        rows += len(piece.observations[spec.main])
        yield piece
    least, expected = 1 + spec.final_observations, episode.entry.rows
    if rows < least:
        raise ValueError(
            f"{what}: found {rows} row(s), expected at least {least}, so that there is an action: leave the episode out"
        )
    if expected is not None and rows != expected:
        raise ValueError(
            f"{what}: found {rows} rows when it was read, and {expected} when it was listed, expected the same: its files disagree, or "
            "have changed meanwhile"
        )


def _check_observations(piece: Piece, spec: EnvironmentSpec, what: str, first: int) -> None:
    rows = len(piece.observations.get(spec.main, ()))
    for name, part in spec.observation.items():
        found = piece.observations.get(name)
        if found is None or found.shape != (rows, *part.shape) or found.dtype != np.dtype(part.dtype):
            said = "nothing" if found is None else f"{found.dtype} {list(found.shape)}"
            raise ValueError(
                f"{what}, row {first}: part {name!r}: found {said}, expected {part.dtype} {[rows, *part.shape]}, as in the "
                "other episodes"
            )
        if part.dtype == "float32":
            _refuse(~np.isfinite(found), found, what, first, f"the part {name!r} of an observation", "finite numbers")


def _check_actions(piece: Piece, spec: EnvironmentSpec, what: str, first: int) -> None:
    """Of the rows whose actions are known; that of a final observation is none of them."""
    if piece.actions is None:
        return
    known = np.ones(len(piece.actions), np.bool_) if piece.labelled is None else piece.labelled
    outside = outside_bounds(spec.action, piece.actions) & known.reshape(-1, *[1] * (piece.actions.ndim - 1))
    _refuse(outside, piece.actions, what, first, "the action", said_bounds(spec.action))


def _refuse(wrong: NDArray[np.bool_], values: NDArray[Any], what: str, first: int, whose: str, expected: str) -> None:
    if not wrong.any():
        return
    place = np.argwhere(wrong)[0]
    entry = f", entry {', '.join(map(str, place[1:]))}" if len(place) > 1 else ""
    raise ValueError(
        f"{what}, row {first + place[0]}: found {values[tuple(place)]} in {whose}{entry}, expected {expected}: mend the recording, or "
        "leave the episode out"
    )
