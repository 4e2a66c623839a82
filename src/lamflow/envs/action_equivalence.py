"""Which of Procgen's 15 actions do the same thing in a game, measured from saved states.

``python -m lamflow.envs.action_equivalence [game ...]`` prints the table of the presets as it is measured.
Shapes: A actions.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamflow.envs.presets import preset
from lamflow.envs.procgen import make_simulator
from lamflow.envs.procgen_presets import PROCGEN_ACTIONS, PROCGEN_GAMES
from lamflow.envs.spec import EnvironmentSpec

NUM_ACTIONS = len(PROCGEN_ACTIONS)
NO_ACTION = PROCGEN_ACTIONS.index("none")
LOOKAHEAD = 4
"""Steps without an action that follow the compared one: some consequences show late (a jump, a shot)."""
_STEPS_BETWEEN = 12
"""Random steps from one set of states to the next."""
MEASURED_STATES = 600


def told_apart(spec: EnvironmentSpec, num_states: int, *, seed: int = 0) -> NDArray[np.int64]:
    """In how many of ``num_states`` states of random play two actions had other consequences: int64 [A, A].

    From the same saved state every action is taken once, followed by ``LOOKAHEAD`` steps without an action; the frames, rewards
    and ends of all these steps are compared.
    """
    simulator = make_simulator(spec, NUM_ACTIONS, start_level=seed, num_levels=0, num_threads=0)
    generator = np.random.default_rng(seed)
    counts = np.zeros((NUM_ACTIONS, NUM_ACTIONS), np.int64)
    simulator.observe()
    played: list[bytes] = simulator.get_state()
    for index in range(num_states):
        if index % NUM_ACTIONS == 0:
            played = _play_on(simulator, played, generator)
        counts += _consequences_differ(simulator, played[index % NUM_ACTIONS])
    simulator.close()
    return counts


def _play_on(simulator: Any, states: list[bytes], generator: np.random.Generator) -> list[bytes]:
    """The states after some random steps."""
    simulator.set_state(states)
    for _ in range(_STEPS_BETWEEN):
        simulator.act(generator.integers(NUM_ACTIONS, size=NUM_ACTIONS))
        simulator.observe()
    later: list[bytes] = simulator.get_state()
    return later


def _consequences_differ(simulator: Any, state: bytes) -> NDArray[np.bool_]:
    """bool [A, A]: the consequences of two actions in ``state`` differ."""
    simulator.set_state([state] * NUM_ACTIONS)
    differ = np.zeros((NUM_ACTIONS, NUM_ACTIONS), np.bool_)
    actions = np.arange(NUM_ACTIONS)
    for _ in range(1 + LOOKAHEAD):
        simulator.act(actions)
        rewards, observation, first = simulator.observe()
        frames = observation["rgb"].reshape(NUM_ACTIONS, -1)
        seen = [
            frame.tobytes() + reward.tobytes() + end.tobytes()
            for frame, reward, end in zip(frames, rewards, first, strict=True)
        ]
        kinds = {outcome: kind for kind, outcome in enumerate(seen)}
        kind_of = np.array([kinds[outcome] for outcome in seen])
        differ |= kind_of[:, None] != kind_of[None]
        actions = np.full(NUM_ACTIONS, NO_ACTION)
    return differ


def classes_of(counts: NDArray[np.int64]) -> tuple[tuple[int, ...], ...]:
    """Sets of at least two actions that were never told apart, by ``counts`` int [A, A]; each in ascending order."""
    groups: dict[bytes, list[int]] = {}
    for action, row in enumerate(counts == 0):
        groups.setdefault(row.tobytes(), []).append(action)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def describe(classes: tuple[tuple[int, ...], ...]) -> str:
    """Classes in words, such as 'left down = left = left up'."""
    return "; ".join(" = ".join(PROCGEN_ACTIONS[action] for action in same) for same in sorted(classes))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the classes of the games (all, if none is named) and whether the presets say the same."""
    parser = argparse.ArgumentParser(
        prog="python -m lamflow.envs.action_equivalence",
        description="Measure which of Procgen's actions do the same thing, some seconds per game.",
    )
    parser.add_argument("games", nargs="*", metavar="game", help=f"by default all: {', '.join(PROCGEN_GAMES)}")
    games = parser.parse_args(arguments).games
    if unknown := sorted(set(games) - set(PROCGEN_GAMES)):
        parser.error(f"unknown game {unknown[0]!r}; known: {', '.join(PROCGEN_GAMES)}")
    for game in games or PROCGEN_GAMES:
        spec = preset(f"procgen-{game}")
        classes = classes_of(told_apart(spec, MEASURED_STATES))
        agrees = "" if set(classes) == set(spec.action_classes) else f" (the presets: {describe(spec.action_classes)})"
        print(f"{game}: {describe(classes)}{agrees}", flush=True)


if __name__ == "__main__":
    main()
