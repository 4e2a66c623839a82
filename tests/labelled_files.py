"""Stores of which some actions are known, made of stores that know all of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lamflow.data.group_writer import GroupWriter
from lamflow.data.store import EpisodeStore, EpisodeWriter, expected_arrays
from lamflow.envs.spec import EnvironmentSpec

KEPT = ("source", "licence", "return_expert", "return_random", "final_observations")


def relabelled(
    path: Path, output: Path, labelled: NDArray[np.bool_] | None, spec: EnvironmentSpec | None = None
) -> Path:
    """The episodes of the store at ``path``, of which the actions of the rows ``labelled`` bool [N] are known, or no row's; ``spec``: as
    those of another environment."""
    store = EpisodeStore.open(path)
    arrays, attributes = store.load(), {name: store.attributes[name] for name in KEPT}
    with EpisodeWriter(output, spec=spec or store.spec, split=store.split, attributes=attributes) as writer:
        stops = np.append(arrays.episode_starts[1:], arrays.num_rows)
        for start, stop, level in zip(arrays.episode_starts, stops, arrays.level_seeds, strict=True):
            rows = slice(start, stop)
            writer.begin(int(level))
            writer.extend(
                {name: part[rows] for name, part in arrays.observations.items()},
                actions=None if labelled is None else arrays.actions[rows],
                rewards=arrays.rewards[rows],
                labelled=None if labelled is None else labelled[rows],
            )
            writer.end(terminated=bool(arrays.terminated[rows].any()), truncated=bool(arrays.truncated[rows].any()))
    return output


def poisoned(path: Path, output: Path, action: float) -> Path:
    """The same store with ``action`` on each row whose action nobody knows, as no writer would leave it."""
    store = EpisodeStore.open(path)
    arrays = store.load()
    actions = np.where(arrays.is_labelled, arrays.actions, action).astype(arrays.actions.dtype)
    with GroupWriter(output, [spec for spec, _ in expected_arrays(store.attributes)]) as writer:
        own = ("files", "digest", "complete")
        writer.attributes = {name: value for name, value in store.attributes.items() if name not in own}
        for spec, _ in expected_arrays(store.attributes):
            writer.append(spec.name, actions if spec.name == "actions" else store.array(spec.name)[...])
    return output
