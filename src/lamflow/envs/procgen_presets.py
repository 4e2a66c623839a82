"""Procgen's 16 games, easy (``procgen-<game>``) and hard (``procgen-<game>-hard``)."""

from __future__ import annotations

from dataclasses import dataclass

from lamflow.envs.spec import FRAMES, EnvironmentSpec
from lamflow.spaces import Discrete, Pixels

RERUNS_NOTHING = "An environment's facts are among the params of the stages that it has."


@dataclass(frozen=True)
class ProcgenGame:
    """One game of Procgen (Cobbe et al. 2020, arXiv 1912.01588).

    ``easy`` and ``hard``: the returns (min, max) by which the paper normalises each mode. ``max_steps``: the game's own
    time limit. ``same``: sets of actions with equal consequences, measured from saved states
    (``lamflow.envs.action_equivalence``).
    """

    easy: tuple[float, float]
    hard: tuple[float, float]
    max_steps: int
    same: tuple[tuple[int, ...], ...]


_SPECIAL = (9, 10, 11, 12, 13, 14)
_IDLE = ((4, *_SPECIAL),)
_IDLE_BUT_FIRE = ((4, *_SPECIAL[1:]),)
_SIDEWAYS = ((0, 1, 2), (6, 7, 8))
_JUMPING = ((0, 1), (6, 7))

PROCGEN_GAMES: dict[str, ProcgenGame] = {
    "bigfish": ProcgenGame((1, 40), (0, 40), 6000, _IDLE),
    "bossfight": ProcgenGame((0.5, 13), (0.5, 13), 4000, _IDLE_BUT_FIRE),
    "caveflyer": ProcgenGame((3.5, 12), (2, 13.4), 1000, _IDLE_BUT_FIRE),
    "chaser": ProcgenGame((0.5, 13), (0.5, 14.2), 1000, _IDLE),
    "climber": ProcgenGame((2, 12.6), (1, 12.6), 1000, (*_JUMPING, (3, 4, *_SPECIAL))),
    "coinrun": ProcgenGame((5, 10), (5, 10), 1000, _IDLE),
    "dodgeball": ProcgenGame((1.5, 19), (1.5, 19), 1000, _IDLE_BUT_FIRE),
    "fruitbot": ProcgenGame((-1.5, 32.4), (-0.5, 27.2), 1000, (*_SIDEWAYS, (3, 4, 5, *_SPECIAL[1:]))),
    "heist": ProcgenGame((3.5, 10), (2, 10), 1000, _IDLE),
    "jumper": ProcgenGame((3, 10), (1, 10), 1000, (*_JUMPING, (3, 4, *_SPECIAL))),
    "leaper": ProcgenGame((3, 10), (1.5, 10), 500, (*_SIDEWAYS, *_IDLE)),
    "maze": ProcgenGame((5, 10), (4, 10), 500, (*_SIDEWAYS, *_IDLE)),
    "miner": ProcgenGame((1.5, 13), (1.5, 20), 1000, (*_SIDEWAYS, *_IDLE)),
    "ninja": ProcgenGame((3.5, 10), (2, 10), 1000, (*_JUMPING, (3, 4), (9, 13, 14))),
    "plunder": ProcgenGame((4.5, 30), (3, 30), 4000, (*_SIDEWAYS, (3, 4, 5, *_SPECIAL[1:]))),
    "starpilot": ProcgenGame((2.5, 64), (1.5, 35), 1000, ((9, *_SPECIAL[2:]),)),
}
"""All 16 games."""
PROCGEN_ACTIONS = (
    "left down", "left", "left up", "down", "none", "up", "right down", "right", "right up", "D", "A", "W", "S", "Q", "E",
)  # fmt: skip
"""Keys of Procgen's 15 actions, in its order."""


def _procgen_pair(game: str) -> list[EnvironmentSpec]:
    """``procgen-<game>`` (easy) and ``procgen-<game>-hard``."""
    facts = PROCGEN_GAMES[game]
    return [
        EnvironmentSpec(
            name=f"procgen-{game}{suffix}",
            family="procgen",
            observation={FRAMES: Pixels((64, 64, 3))},
            action=Discrete(len(PROCGEN_ACTIONS)),
            action_names=PROCGEN_ACTIONS,
            max_steps=facts.max_steps,
            own={"simulator_id": f"{game}/{mode}"},
            final_observations=False,
            action_classes=facts.same,
            return_bounds=bounds,
        )
        for suffix, mode, bounds in (("", "easy", facts.easy), ("-hard", "hard", facts.hard))
    ]


PRESETS: tuple[EnvironmentSpec, ...] = tuple(spec for game in PROCGEN_GAMES for spec in _procgen_pair(game))
