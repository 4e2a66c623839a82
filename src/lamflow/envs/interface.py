"""What every simulator looks like to the rest of lamflow: batches of levels in, batches of observations out.

Shapes: B environments, T transitions of an episode, A entries of an action.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from lamflow.envs.spec import EnvironmentSpec
from lamflow.spaces import Discrete, known_actions

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


Parts = Mapping[str, NDArray[Any]]
"""The parts of observations by name, all [B, ...], each of the space that the environment's facts say."""


@dataclass(frozen=True)
class Observation:
    """A batch of observations."""

    parts: Parts

    def __getitem__(self, rows: NDArray[np.int64] | NDArray[np.bool_] | slice) -> Observation:
        return Observation({name: values[rows] for name, values in self.parts.items()})

    def __len__(self) -> int:
        return len(next(iter(self.parts.values())))


@dataclass(frozen=True)
class StepResult:
    """The outcome of one step of B environments.

    Where an episode ended, ``observation`` is already the first one of the next episode (same-step reset), and
    ``final_observation`` holds the true last observation of the episode that ended (its other rows equal ``observation``).
    ``final_observation`` is None for simulators that swallow it (Procgen). ``rewards`` float32 [B] are raw: neither
    clipped nor normalised. ``level_ids`` int64 [B] belong to the episode that ``observation`` is part of.
    """

    observation: Observation
    final_observation: Observation | None
    rewards: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    level_ids: NDArray[np.int64]


class VectorEnvironment(Protocol):
    """B independent copies of one environment, stepped together.

    Actions are int64 [B], or float32 [B, A]. ``send`` and ``receive`` are the halves of ``step``: between them the caller may compute
    while a simulator that has threads or a device of its own goes on.
    """

    spec: EnvironmentSpec
    num_envs: int

    def reset(self, level_ids: NDArray[np.int64]) -> Observation:
        """Start one episode a slot on ``level_ids`` [B]; later episodes of slot i take level ``level_ids[i]`` again
        unless the environment was built with a level stream."""
        ...

    def send(self, actions: NDArray[Any]) -> None:
        """Act with ``actions`` [B, ...], which the caller may change afterwards; RuntimeError before the first reset, ValueError
        for actions that do not exist."""
        ...

    def receive(self) -> StepResult:
        """What came of the actions that were sent last; once for each ``send``."""
        ...

    def step(self, actions: NDArray[Any]) -> StepResult:
        """``send`` and ``receive`` at once."""
        self.send(actions)
        return self.receive()

    def save(self) -> dict[str, Any]:
        """All that makes the future of the slots, but the level stream, between two steps; ValueError where a simulator cannot."""
        raise ValueError(f"{self.spec.name}: the state of this simulator cannot be saved; use another backend")

    def restore(self, saved: dict[str, Any]) -> Observation:
        """Go on from ``save``'s answer; the present observation. ValueError where a simulator cannot."""
        raise ValueError(f"{self.spec.name}: the state of this simulator cannot be restored; use another backend")

    def keep(self, slots: NDArray[np.int64]) -> Observation | None:
        """Go on with ``slots`` [N] alone, in this order, between two steps; their present observation. None, and nothing has changed,
        where a simulator cannot."""
        return None

    def close(self) -> None: ...


def check_level_ids(spec: EnvironmentSpec, num_envs: int, level_ids: NDArray[np.int64]) -> None:
    """ValueError unless there is one level a slot."""
    if level_ids.shape != (num_envs,):
        raise ValueError(f"{spec.name}: found level ids of shape {level_ids.shape}, expected ({num_envs},)")


def check_actions(spec: EnvironmentSpec, num_envs: int, actions: NDArray[Any]) -> None:
    """ValueError unless there is one action per slot and each of them exists."""
    space = known_actions(spec.action, spec.name)
    expected = (num_envs, *space.shape)
    if isinstance(space, Discrete):
        if actions.shape != expected or actions.min() < 0 or actions.max() >= space.count:
            raise ValueError(
                f"{spec.name}: found actions of shape {actions.shape} in {actions.min()}..{actions.max()}, expected shape {expected} in "
                f"0..{space.count - 1}"
            )
    elif actions.shape != expected:
        raise ValueError(f"{spec.name}: found actions of shape {actions.shape}, expected {expected}")
    elif not ((actions >= np.array(space.low, np.float32)) & (actions <= np.array(space.high, np.float32))).all():
        raise ValueError(f"{spec.name}: found an action outside of its bounds, or NaN: clip it")


@dataclass(frozen=True)
class Episode:
    """One episode of L transitions with its L + 1 observations (or L, where the simulator swallows the last one).

    ``observations``: their parts [L + 1, ...]; ``actions``: int64 [L], or float32 [L, A]; ``rewards`` float32 [L]; ``terminated``: the
    task ended it; ``truncated``: the step limit did; ``labelled`` bool [L]: whose actions are known, None where all are.
    """

    observations: Parts
    actions: NDArray[Any]
    rewards: NDArray[np.float32]
    terminated: bool
    truncated: bool
    level_id: int
    labelled: NDArray[np.bool_] | None = None

    @property
    def length(self) -> int:
        """Number of transitions."""
        return len(self.actions)

    @property
    def total_reward(self) -> float:
        """Undiscounted raw return."""
        return float(self.rewards.sum())
