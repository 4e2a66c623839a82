"""An expert over pixels as a demonstrator, in whatever family of environments: its training with its file, and its episodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamflow.envs.interface import SPLITS, Episode, Split
from lamflow.envs.spec import EnvironmentSpec
from lamflow.rl.actor_critic import PixelActorCritic
from lamflow.rl.demonstrations import Collection, returns_of
from lamflow.rl.demonstrator_settings import PixelExpertSettings
from lamflow.rl.pixel_experts import PixelExpert, save_pixel_expert, train_pixel_expert
from lamflow.training.metrics import MetricsLog

Play = Callable[[PixelExpert, NDArray[np.int64]], Iterator[Episode]]
"""(expert, levels) to its episodes."""


def make_pixel_expert(
    *,
    spec: EnvironmentSpec,
    settings: PixelExpertSettings,
    seed: int,
    metrics: MetricsLog,
    output: Path,
    state_dir: Path | None,
    identity: str,
) -> None:
    """Train PPO on train levels and write the expert's file."""
    network = train_pixel_expert(
        spec=spec, settings=settings, seed=seed, metrics=metrics, state_dir=state_dir, identity=identity
    )
    save_pixel_expert(output, network, settings, seed)


def collect_pixels(
    network: PixelActorCritic,
    *,
    epsilon: float,
    split: Split,
    seed: int,
    levels: NDArray[np.int64],
    reference: NDArray[np.int64],
    play: Play,
    play_reference: Play,
    attributes: Mapping[str, Any],
) -> Collection:
    """The expert's episodes of a split's ``levels``, and its returns and those of random actions on the ``reference`` levels."""

    def returns(epsilon: float) -> list[float]:
        return returns_of(play_reference(PixelExpert(network, epsilon=epsilon, seed=seed), reference))

    demonstrator = PixelExpert(network, epsilon=epsilon, seed=seed + SPLITS.index(split))
    return Collection(
        episodes=play(demonstrator, levels),
        attributes=attributes,
        expert_returns=returns(0.0),
        random_returns=returns(1.0),
        precision=demonstrator.precision,
    )
