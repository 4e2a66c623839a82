"""XLand-MiniGrid: ``xland-<short>`` has the egocentric 5x5 view, ``xland-<short>-full`` the whole grid."""

from __future__ import annotations

from lamflow.envs.spec import FRAMES, EnvironmentSpec
from lamflow.envs.tiles import NUM_COLORS, NUM_TILES, VIEW_SIZE
from lamflow.envs.xland_views import grid, whole_grid_twin
from lamflow.spaces import Categories, Discrete

RERUNS_NOTHING = "An environment's facts are among the params of the stages that it has."

MINIGRID_ACTIONS = ("forward", "turn right", "turn left", "pick up", "put down", "toggle")


def _xland_pair(
    short: str, simulator_id: str, size: int, max_steps: int, demonstrator: str, *, rulesets: bool = False
) -> list[EnvironmentSpec]:
    """The egocentric 5x5 view (``xland-<short>``) and the full grid (``xland-<short>-full``) of one simulator.

    The entries of ``proprioception``: direction, carried tile and its colour. Those of ``task``, which is there where tasks vary: the id of
    the goal, tile and colour of its first object, tile and colour of its second."""
    egocentric = EnvironmentSpec(
        name=f"xland-{short}",
        family="xland",
        observation={
            FRAMES: grid(VIEW_SIZE, VIEW_SIZE, NUM_TILES),
            "proprioception": Categories((3,), (4, NUM_TILES, NUM_COLORS)),
            **({"task": Categories((5,), (15, NUM_TILES, NUM_COLORS, NUM_TILES, NUM_COLORS))} if rulesets else {}),
        },
        action=Discrete(len(MINIGRID_ACTIONS)),
        action_names=MINIGRID_ACTIONS,
        max_steps=max_steps,
        own={
            "simulator_id": simulator_id,
            "view": "egocentric",
            "demonstrator": demonstrator,
            "uses_rulesets": rulesets,
        },
    )
    return [egocentric, whole_grid_twin(egocentric, size, size)]


PRESETS: tuple[EnvironmentSpec, ...] = (
    *_xland_pair("empty-random-8x8", "MiniGrid-EmptyRandom-8x8", 8, 256, "ppo"),
    *_xland_pair("doorkey-5x5", "MiniGrid-DoorKey-5x5", 5, 250, "ppo"),
    *_xland_pair("doorkey-6x6", "MiniGrid-DoorKey-6x6", 6, 360, "ppo"),
    *_xland_pair("doorkey-8x8", "MiniGrid-DoorKey-8x8", 8, 640, "ppo"),
    *_xland_pair("fourrooms", "MiniGrid-FourRooms", 19, 100, "planner"),
    *_xland_pair("r1-9x9", "XLand-MiniGrid-R1-9x9", 9, 243, "planner", rulesets=True),
)
