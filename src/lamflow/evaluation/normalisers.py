"""Whether the returns of random and of the demonstrator say enough to normalise others by them."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

RERUNS_NOTHING = "It warns where data are made; tables of normalised numbers have its digest among their params."

log = logging.getLogger(__name__)

LEAST_SHARE = 1e-3
"""ASSUME: a gap below this share of the size of returns is rounding, no skill: normalised, such a return would be above a thousand."""


@dataclass(frozen=True)
class Normaliser:
    """Mean raw returns of random actions and of the demonstrator; ``error``: the standard error of their difference, None where
    nobody measured it."""

    random: float
    expert: float
    error: float | None = None

    def problem(self, *, typical: float = 0.0) -> str | None:
        """Why returns cannot be normalised, None where they can; ``typical``: the mean size of those that are to be."""
        gap = self.expert - self.random
        if not math.isfinite(gap):
            return f"the returns of the demonstrator ({self.expert:g}) and random ({self.random:g}) are not finite, or their gap"
        if gap <= 0:
            return f"the demonstrator ({self.expert:g}) is not above random ({self.random:g})"
        if self.error is not None and gap <= self.error:
            return (
                f"the demonstrator ({self.expert:g}) is above random ({self.random:g}) by no more than the standard error of the "
                f"difference ({self.error:.3g})"
            )
        size = max(abs(self.random), abs(self.expert), typical)
        if gap < LEAST_SHARE * size:
            return (
                f"the demonstrator ({self.expert:.9g}) is above random ({self.random:.9g}) by {gap:.3g} alone, less than {LEAST_SHARE:g} "
                f"of the size of returns ({size:g}: the larger of these two and of the mean over all agents' episodes)"
            )
        return None


def stored_normaliser(attributes: Mapping[str, Any]) -> Normaliser | None:
    """That of an episode store with these attributes, None where it lacks a return.

    Older stores have no errors and some imports one alone; an unknown one counts as 0.
    """
    random, expert = attributes.get("return_random"), attributes.get("return_expert")
    if random is None or expert is None:
        return None
    stored = (attributes.get(f"return_{who}_error") for who in ("random", "expert"))
    errors = [float(error) for error in stored if error is not None]
    return Normaliser(float(random), float(expert), math.hypot(*errors) if errors else None)


def warn_of_references(env: str, attributes: Mapping[str, Any], advice: str) -> None:
    """Say it where the data of ``env`` are made when their references, ``attributes`` of the store, cannot normalise."""
    normaliser = stored_normaliser(attributes)
    problem = None if normaliser is None else normaliser.problem()
    if problem is None and _measured_once(attributes):
        log.warning(
            "%s: the returns of random and of the demonstrator are those of a single episode each, so nobody knows their error. "
            "%s",
            env,
            advice,
        )
    if problem is not None:
        log.warning(
            "%s: %s. Its returns cannot be normalised: its tables will hold raw returns alone, and what is taken over all environments "
            "leaves it out. %s",
            env,
            problem,
            advice,
        )


def _measured_once(attributes: Mapping[str, Any]) -> bool:
    """Whether both references were measured here, on one episode: null is not the same as an older store's nothing."""
    errors = [f"return_{who}_error" for who in ("random", "expert")]
    return all(name in attributes and attributes[name] is None for name in errors)
