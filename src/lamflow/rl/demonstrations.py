"""Who demonstrates: a module per family of environments, ``lamflow.rl.<family>_demonstrator``, found by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from lamflow.envs.interface import Episode, Split
from lamflow.envs.spec import EnvironmentSpec
from lamflow.rl.demonstrator_settings import CollectionSettings
from lamflow.settings import Settings

if TYPE_CHECKING:  # a plan names these modules, and shall not wait for torch
    from lamflow.training.metrics import MetricsLog
    from lamflow.training.precision import Precision

REFERENCE_STREAM = 1_000_003
"""Offset of the seed of the reference levels, so that they are not the first levels of the test episodes."""


@dataclass(frozen=True)
class Collection:
    """Episodes to come, and the raw returns on the reference levels of the noise-free demonstrator and of random actions.

    ``precision``: that of the demonstrator's network, None where it is compiled with the simulator or there is none.
    """

    episodes: Iterator[Episode]
    attributes: Mapping[str, Any]
    expert_returns: Sequence[float]
    random_returns: Sequence[float]
    precision: Precision | None = None


class Demonstrator(Protocol):
    """The names of a family's module."""

    def settings_for(self, spec: EnvironmentSpec) -> type[Settings]:
        """What describes the training of an environment's demonstrator."""
        ...

    def is_trained(self, spec: EnvironmentSpec, shipped: Path | None) -> bool:
        """Whether somebody learns, or a file without weights, or the one that is shipped, is the demonstrator."""
        ...

    def make_expert(
        self,
        spec: EnvironmentSpec,
        settings: Any,
        seed: int,
        metrics: MetricsLog,
        output: Path,
        state_dir: Path | None,
        identity: str,
        shipped: Path | None,
    ) -> None:
        """Write the demonstrator's file."""
        ...

    def collect(
        self, spec: EnvironmentSpec, settings: CollectionSettings, split: Split, seed: int, expert: Path
    ) -> Collection:
        """Its episodes of a split, and the returns on the reference levels."""
        ...


def demonstrator_module(spec: EnvironmentSpec) -> str:
    """The name of the module of the demonstrators of an environment's family."""
    return f"lamflow.rl.{spec.family}_demonstrator"


def demonstrator_of(spec: EnvironmentSpec) -> Demonstrator:
    """The module of the demonstrators of an environment's family, imported."""
    return cast(Demonstrator, import_module(demonstrator_module(spec)))


def num_episodes(settings: CollectionSettings, split: Split) -> int:
    """Of a split."""
    counts = {
        "train": settings.train_episodes,
        "validation": settings.validation_episodes,
        "test": settings.test_episodes,
    }
    return counts[split]


def returns_of(episodes: Iterable[Episode]) -> list[float]:
    """Total rewards."""
    return [episode.total_reward for episode in episodes]
