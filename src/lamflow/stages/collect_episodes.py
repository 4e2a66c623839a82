"""Stop 2: the demonstrator's episodes of one split."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lamflow.data.store import EpisodeWriter
from lamflow.envs.interface import SPLITS
from lamflow.envs.spec import EnvironmentSpec
from lamflow.evaluation.normalisers import warn_of_references
from lamflow.evaluation.references import mean_and_error
from lamflow.provenance import file_digest, record_provenance
from lamflow.rl.demonstrations import demonstrator_of
from lamflow.rl.demonstrator_settings import CollectionSettings
from lamflow.stages.code import stage_code


def collect_episodes(
    *,
    environment: Mapping[str, Any],
    settings: Mapping[str, Any],
    split: str,
    seed: int,
    expert: Path | str,
    output: Path | str,
) -> None:
    """Write ``<split>_episodes`` episodes of the demonstrator on the split's levels to the episode store ``output``.

    ``settings``: ``CollectionSettings``; ``expert``: the file of ``train_expert``. A random action replaces the
    demonstrator's with probability epsilon at each step; in Procgen games the last action is repeated with probability
    ``sticky``. The attributes ``return_expert`` and ``return_random`` are mean raw returns of the noise-free demonstrator and of
    random actions on ``reference_episodes`` test levels, the same in each split, ``return_expert_error`` and ``return_random_error``
    their standard errors (None for one episode); ``expert_sha256`` is the expert file's. References that cannot normalise are warned of.
    Episodes of XLand stand in the order of their levels, those of Procgen in the order in which they ended. ValueError for an unknown
    split, a source that is no expert, and ``sticky`` where it does nothing.
    """
    started = time.monotonic()
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; known: {', '.join(SPLITS)}")
    spec, typed = EnvironmentSpec.from_facts(environment), CollectionSettings.model_validate(settings)
    code = stage_code(__name__, spec)
    collection = demonstrator_of(spec).collect(spec, typed, split, seed, Path(expert))
    attributes = {
        "source": f"{spec.simulator_id}, {spec.demonstrator} demonstrator",
        "epsilon": typed.epsilon,
        "expert_sha256": file_digest(Path(expert)),
        **_references("expert", collection.expert_returns),
        **_references("random", collection.random_returns),
        **collection.attributes,
    }
    warn_of_references(
        spec.name,
        attributes,
        f"Measure them on more than the {typed.reference_episodes} episodes of collection.reference_episodes, or train the demonstrator "
        "longer.",
    )
    if collection.precision is not None:
        print(f"demonstrator of {spec.name}: precision {collection.precision}")
    with EpisodeWriter(output, spec=spec, split=split, attributes=attributes) as writer:
        for episode in collection.episodes:
            writer.append(episode)
    record_provenance(
        Path(output),
        code=code,
        settings=settings,
        inputs={"expert": Path(expert)},
        seed=seed,
        wall_seconds=time.monotonic() - started,
        precision=[collection.precision],
    )


def _references(who: str, returns: Sequence[float]) -> dict[str, float | None]:
    """The attributes of the store that hold the mean of ``returns`` and its standard error."""
    mean, error = mean_and_error(returns)
    return {f"return_{who}": mean, f"return_{who}_error": error}
