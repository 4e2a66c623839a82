"""The two views of one XLand-MiniGrid simulator."""

from __future__ import annotations

from dataclasses import replace

from lamflow.envs.spec import EnvironmentSpec
from lamflow.envs.tiles import NUM_COLORS, NUM_TILES, NUM_TILES_FULL, VIEW_SIZE


def egocentric_twin(spec: EnvironmentSpec) -> EnvironmentSpec:
    """The environment with an egocentric view, in which XLand's experts are trained; their levels are the same."""
    return replace(
        spec,
        name=spec.name.removesuffix("-full"),
        view="egocentric",
        frame_shape=(VIEW_SIZE, VIEW_SIZE, 2),
        category_sizes=(NUM_TILES, NUM_COLORS),
    )


def whole_grid_twin(spec: EnvironmentSpec, height: int, width: int) -> EnvironmentSpec:
    """The environment that shows the whole grid of ``height`` x ``width`` cells; its levels are the same."""
    return replace(
        spec,
        name=spec.name.removesuffix("-full") + "-full",
        view="full",
        frame_shape=(height, width, 2),
        category_sizes=(NUM_TILES_FULL, NUM_COLORS),
    )
