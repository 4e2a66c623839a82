"""Stop 2: the demonstrator's episodes of one split."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lamflow.catalogue import EnvironmentSpec, environment_spec
from lamflow.config import CollectionSettings
from lamflow.data.store import EpisodeWriter
from lamflow.envs.interface import Episode
from lamflow.envs.levels import SPLITS, Split, draw_levels
from lamflow.evaluation.normalisers import warn_of_references
from lamflow.evaluation.references import mean_and_error
from lamflow.provenance import file_digest, record_provenance
from lamflow.training.precision import Precision

REFERENCE_STREAM = 1_000_003
"""Offset of the seed of the reference levels, so that they are not the first levels of the test episodes."""


@dataclass(frozen=True)
class _Collection:
    """Episodes to come, and the raw returns on the reference levels of the noise-free demonstrator and of random actions.

    ``precision``: that of the demonstrator's network, None where it is compiled with the simulator or there is none.
    """

    episodes: Iterator[Episode]
    attributes: Mapping[str, Any]
    expert_returns: Sequence[float]
    random_returns: Sequence[float]
    precision: Precision | None = None


def collect_episodes(
    *, env: str, settings: Mapping[str, Any], split: str, seed: int, expert: Path | str, output: Path | str
) -> None:
    """Write ``<split>_episodes`` episodes of the demonstrator on the split's levels to the episode store ``output``.

    ``settings``: ``lamflow.config.CollectionSettings``; ``expert``: the file of ``train_expert``. A random action replaces the
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
    spec, typed = environment_spec(env), CollectionSettings.model_validate(settings)
    collect = {"xland": _collect_xland, "procgen": _collect_procgen}[spec.family]
    collection = collect(spec, typed, split, seed, Path(expert))
    attributes = {
        "source": f"{spec.simulator_id}, {spec.demonstrator} demonstrator",
        "epsilon": typed.epsilon,
        "expert_sha256": file_digest(Path(expert)),
        **_references("expert", collection.expert_returns),
        **_references("random", collection.random_returns),
        **collection.attributes,
    }
    warn_of_references(
        env,
        attributes,
        f"Measure them on more than the {typed.reference_episodes} episodes of collection.reference_episodes, or train the demonstrator "
        "longer.",
    )
    if collection.precision is not None:
        print(f"demonstrator of {env}: precision {collection.precision}")
    with EpisodeWriter(output, spec=spec, split=split, attributes=attributes) as writer:
        for episode in collection.episodes:
            writer.append(episode)
    record_provenance(
        Path(output),
        stage=__name__,
        settings=settings,
        inputs={"expert": Path(expert)},
        seed=seed,
        wall_seconds=time.monotonic() - started,
        precision=[collection.precision],
    )


def _num_episodes(settings: CollectionSettings, split: Split) -> int:
    counts = {
        "train": settings.train_episodes,
        "validation": settings.validation_episodes,
        "test": settings.test_episodes,
    }
    return counts[split]


def _collect_xland(
    spec: EnvironmentSpec, settings: CollectionSettings, split: Split, seed: int, expert: Path
) -> _Collection:
    from lamflow.envs.rollouts import rollout
    from lamflow.envs.xland import make_simulator
    from lamflow.rl.demonstrators import load_demonstrator, with_random_actions

    if settings.sticky > 0:
        raise ValueError(
            f"collection.sticky: found {settings.sticky} for {spec.name}, expected 0: it is for Procgen games"
        )
    demonstrator, params = load_demonstrator(spec.name, expert)
    act = with_random_actions(demonstrator)  # one compiled program: epsilon 0 is the demonstrator, epsilon 1 random
    simulator = make_simulator(spec.name, settings.num_rulesets)
    reference = draw_levels(
        spec.name, "test", settings.reference_episodes, seed + REFERENCE_STREAM, settings.num_rulesets
    )
    levels = draw_levels(spec.name, split, _num_episodes(settings, split), seed, settings.num_rulesets)
    return _Collection(
        episodes=rollout(simulator, act, (params, settings.epsilon), levels, seed + SPLITS.index(split)),
        attributes={
            "licence": "generated by lamflow; XLand-MiniGrid is under the Apache License 2.0",
            "num_rulesets": settings.num_rulesets if spec.uses_rulesets else None,
        },
        expert_returns=_returns(rollout(simulator, act, (params, 0.0), reference, seed)),
        random_returns=_returns(rollout(simulator, act, (params, 1.0), reference, seed)),
    )


def _collect_procgen(
    spec: EnvironmentSpec, settings: CollectionSettings, split: Split, seed: int, expert: Path
) -> _Collection:
    from lamflow.rl.pixel_experts import PixelExpert, load_pixel_expert
    from lamflow.rl.pixel_rollouts import play_episodes

    if settings.source != "expert":
        raise ValueError(
            f"collection.source: found {settings.source!r}, expected 'expert': published data are imported, not collected "
            "(docs/datasets.md)"
        )
    network = load_pixel_expert(expert, spec)
    all_levels = settings.levels == "all"
    reference = draw_levels(
        spec.name, "test", settings.reference_episodes, seed + REFERENCE_STREAM, all_levels=all_levels
    )
    levels = draw_levels(spec.name, split, _num_episodes(settings, split), seed, all_levels=all_levels)
    threads = torch.get_num_threads() // 2  # of the simulator, beside the network's; they change no result
    noise_seed = seed + SPLITS.index(split)

    def returns(epsilon: float) -> list[float]:
        return _returns(play_episodes(PixelExpert(network, epsilon=epsilon, seed=seed), reference, num_threads=threads))

    demonstrator = PixelExpert(network, epsilon=settings.epsilon, seed=noise_seed)
    return _Collection(
        episodes=play_episodes(
            demonstrator,
            levels,
            num_threads=threads,
            sticky=settings.sticky,
            seed=noise_seed,
        ),
        attributes={
            "licence": "generated by lamflow; Procgen is under the MIT License",
            "sticky": settings.sticky,
            "levels": settings.levels,
        },
        expert_returns=returns(0.0),
        random_returns=returns(1.0),
        precision=demonstrator.precision,
    )


def _returns(episodes: Iterable[Episode]) -> list[float]:
    return [episode.total_reward for episode in episodes]


def _references(who: str, returns: Sequence[float]) -> dict[str, float | None]:
    """The attributes of the store that hold the mean of ``returns`` and its standard error."""
    mean, error = mean_and_error(returns)
    return {f"return_{who}": mean, f"return_{who}_error": error}
