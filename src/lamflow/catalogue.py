"""The environments lamflow knows by name: static facts, no simulator is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

View = Literal["egocentric", "full"]
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

    ``frame_shape`` is (H, W, 2) for grids: tile id and colour id, both categories. ``category_sizes`` holds the number of
    categories of each frame channel. ``proprioception_sizes`` and ``task_sizes`` hold the number of categories of each
    entry of the proprioceptive vector (direction, carried tile, carried colour) and of the task vector (goal id, tile and
    colour of its first object, tile and colour of its second); the task vector is empty where the task never changes.
    """

    name: str
    family: Literal["xland"]
    simulator_id: str
    view: View
    frame_shape: tuple[int, int, int]
    category_sizes: tuple[int, int]
    action_names: tuple[str, ...]
    max_steps: int
    demonstrator: Demonstrator
    proprioception_sizes: tuple[int, ...] = (4, NUM_TILES, NUM_COLORS)
    task_sizes: tuple[int, ...] = ()
    uses_rulesets: bool = False

    @property
    def num_actions(self) -> int:
        return len(self.action_names)


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


ENVIRONMENTS: dict[str, EnvironmentSpec] = {
    spec.name: spec
    for pair in (
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
