"""The two views of one XLand-MiniGrid simulator."""

from __future__ import annotations

from dataclasses import replace

from lamflow.envs.spec import FRAMES, EnvironmentSpec
from lamflow.envs.tiles import NUM_COLORS, NUM_TILES, NUM_TILES_FULL, VIEW_SIZE
from lamflow.spaces import Categories


def grid(height: int, width: int, num_tiles: int) -> Categories:
    """Frames of ``height`` x ``width`` cells: the id of a tile, and of its colour."""
    return Categories((height, width, 2), (num_tiles, NUM_COLORS))


def egocentric_twin(spec: EnvironmentSpec) -> EnvironmentSpec:
    """The environment with an egocentric view, in which XLand's experts are trained; their levels are the same."""
    return replace(
        spec,
        name=spec.name.removesuffix("-full"),
        observation={**spec.observation, FRAMES: grid(VIEW_SIZE, VIEW_SIZE, NUM_TILES)},
        own={**spec.own, "view": "egocentric"},
    )


def whole_grid_twin(spec: EnvironmentSpec, height: int, width: int) -> EnvironmentSpec:
    """The environment that shows the whole grid of ``height`` x ``width`` cells; its levels are the same."""
    return replace(
        spec,
        name=spec.name.removesuffix("-full") + "-full",
        observation={**spec.observation, FRAMES: grid(height, width, NUM_TILES_FULL)},
        own={**spec.own, "view": "full"},
    )
