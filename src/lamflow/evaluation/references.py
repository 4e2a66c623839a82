"""The returns by which an environment's are normalised."""

from __future__ import annotations

from lamflow.catalogue import EnvironmentSpec
from lamflow.data.store import EpisodeStore


def reference_returns(store: EpisodeStore, spec: EnvironmentSpec) -> tuple[float, float]:
    """The returns of random and of the expert by which returns are normalised."""
    random, expert = store.attributes["return_random"], store.attributes["return_expert"]
    if random is not None and expert is not None:
        return random, expert
    if spec.return_bounds is None:
        raise ValueError(
            f"{store.path}: found return_random {random} and return_expert {expert}, expected numbers: {spec.name} has no "
            "published bounds to take in their place; write the store with both"
        )
    return spec.return_bounds
