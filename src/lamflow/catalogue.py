"""The environments lamflow knows by name: static facts, no simulator is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

RERUNS_NOTHING = "An environment's entry is among the params of the stages that it has."

Family = Literal["xland", "procgen"]
View = Literal["egocentric", "full", "pixels"]
Demonstrator = Literal["ppo", "planner"]

NUM_TILES = 13
"""Tile ids of XLand-MiniGrid (0 empty .. 12 star)."""
NUM_COLORS = 12
"""Colour ids of XLand-MiniGrid (0 empty .. 11 pink)."""
AGENT_TILE = NUM_TILES
"""In the full view the agent is drawn as tile ``AGENT_TILE + direction`` (up, right, down, left); its colour id is that
of the object it carries, 0 when it carries nothing."""
NUM_TILES_FULL = NUM_TILES + 4

MINIGRID_ACTIONS = ("forward", "turn right", "turn left", "pick up", "put down", "toggle")


@dataclass(frozen=True)
class EnvironmentSpec:
    """What the rest of lamflow must know about an environment without importing its simulator.

    ``frame_shape`` is (H, W, 2) for grids: tile id and colour id, both categories; ``category_sizes`` holds the number of
    categories of each frame channel. It is (64, 64, 3) for pixels (RGB, 0 to 255), which have no categories, no
    proprioception and no task. ``proprioception_sizes`` and ``task_sizes`` hold the number of categories of each
    entry of the proprioceptive vector (direction, carried tile, carried colour) and of the task vector (goal id, tile and
    colour of its first object, tile and colour of its second); the task vector is empty where the task never changes.
    ``action_classes`` lists sets of actions that do the same thing in every state (see docs/environments.md); an action that
    is in none of them is a class of its own.
    """

    name: str
    family: Family
    simulator_id: str
    view: View
    frame_shape: tuple[int, int, int]
    category_sizes: tuple[int, ...]
    action_names: tuple[str, ...]
    max_steps: int
    demonstrator: Demonstrator
    proprioception_sizes: tuple[int, ...] = (4, NUM_TILES, NUM_COLORS)
    task_sizes: tuple[int, ...] = ()
    uses_rulesets: bool = False
    final_observations: bool = True
    action_classes: tuple[tuple[int, ...], ...] = ()
    return_bounds: tuple[float, float] | None = None

    @property
    def num_actions(self) -> int:
        return len(self.action_names)

    @property
    def class_of_action(self) -> tuple[int, ...]:
        """For each action the smallest one that does the same thing."""
        smallest = {action: min(same) for same in self.action_classes for action in same}
        return tuple(smallest.get(action, action) for action in range(self.num_actions))

    @property
    def class_names(self) -> tuple[str, ...]:
        """For each action the name of those that do the same: "none" if it is one of them, else the shortest."""
        members: dict[int, list[str]] = {}
        for action, first in enumerate(self.class_of_action):
            members.setdefault(first, []).append(self.action_names[action])
        names = {first: min(found, key=lambda name: (name != "none", len(name))) for first, found in members.items()}
        return tuple(names[first] for first in self.class_of_action)


def _xland_pair(
    short: str, simulator_id: str, size: int, max_steps: int, demonstrator: Demonstrator, *, rulesets: bool = False
) -> list[EnvironmentSpec]:
    """The egocentric 5x5 view (``xland-<short>``) and the full grid (``xland-<short>-full``) of one simulator."""
    task_sizes = (15, NUM_TILES, NUM_COLORS, NUM_TILES, NUM_COLORS) if rulesets else ()
    shapes: list[tuple[str, View, int, int]] = [
        ("", "egocentric", 5, NUM_TILES),
        ("-full", "full", size, NUM_TILES_FULL),
    ]
    return [
        EnvironmentSpec(
            name=f"xland-{short}{suffix}",
            family="xland",
            simulator_id=simulator_id,
            view=view,
            frame_shape=(side, side, 2),
            category_sizes=(tiles, NUM_COLORS),
            action_names=MINIGRID_ACTIONS,
            max_steps=max_steps,
            demonstrator=demonstrator,
            task_sizes=task_sizes,
            uses_rulesets=rulesets,
        )
        for suffix, view, side, tiles in shapes
    ]


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
            simulator_id=f"{game}/{mode}",
            view="pixels",
            frame_shape=(64, 64, 3),
            category_sizes=(),
            action_names=PROCGEN_ACTIONS,
            max_steps=facts.max_steps,
            demonstrator="ppo",
            proprioception_sizes=(),
            final_observations=False,
            action_classes=facts.same,
            return_bounds=bounds,
        )
        for suffix, mode, bounds in (("", "easy", facts.easy), ("-hard", "hard", facts.hard))
    ]


ENVIRONMENTS: dict[str, EnvironmentSpec] = {
    spec.name: spec
    for pair in (
        *map(_procgen_pair, PROCGEN_GAMES),
        _xland_pair("empty-random-8x8", "MiniGrid-EmptyRandom-8x8", 8, 256, "ppo"),
        _xland_pair("doorkey-5x5", "MiniGrid-DoorKey-5x5", 5, 250, "ppo"),
        _xland_pair("doorkey-6x6", "MiniGrid-DoorKey-6x6", 6, 360, "ppo"),
        _xland_pair("doorkey-8x8", "MiniGrid-DoorKey-8x8", 8, 640, "ppo"),
        _xland_pair("fourrooms", "MiniGrid-FourRooms", 19, 100, "planner"),
        _xland_pair("r1-9x9", "XLand-MiniGrid-R1-9x9", 9, 243, "planner", rulesets=True),
    )
    for spec in pair
}


def environment_spec(name: str) -> EnvironmentSpec:
    """The spec of a named environment; ValueError names what is known when ``name`` is not."""
    if name not in ENVIRONMENTS:
        raise ValueError(f"unknown environment {name!r}; known: {', '.join(sorted(ENVIRONMENTS))}")
    return ENVIRONMENTS[name]


def egocentric_twin(spec: EnvironmentSpec) -> EnvironmentSpec:
    """The environment of the same simulator with an egocentric view, in which XLand's experts are trained."""
    return next(
        twin for twin in ENVIRONMENTS.values() if twin.simulator_id == spec.simulator_id and twin.view == "egocentric"
    )
