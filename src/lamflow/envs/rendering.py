"""Pictures of frames: grids are drawn with xminigrid's tiles, pixels are pictures themselves."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamflow.envs.tiles import AGENT_TILE, NUM_COLORS

_EMPTY_TILE, _FLOOR_TILE, _BLACK, _UP = 0, 1, 7, 0
_OUTSIDE = (45, 45, 45)
"""RGB of what lies outside the map, for which xminigrid has a warning sign."""
_CARRIED_SHARE = 0.3
"""Side of the small picture of the carried colour, as a share of the tile's."""


def render_frame(frame: NDArray[np.uint8], *, view: str, tile_size: int = 16) -> NDArray[np.uint8]:
    """An RGB image uint8 [H * tile_size, W * tile_size, 3] of a frame uint8 [H, W, 2] of a view, or [H, W, 3] of pixels.

    Pixels are repeated. The full view has the agent in it (tiles ``AGENT_TILE`` + direction), drawn as a triangle on the floor
    with a dot in the colour of what it carries; a predicted one may have lost it. In the egocentric view the agent stands in the
    middle of the last row and looks up. Categories that do not exist raise a ValueError.
    """
    if view == "pixels":
        return _enlarged(frame, tile_size)
    if (
        frame.ndim != 3
        or frame.shape[2] != 2
        or frame[..., 0].max() >= AGENT_TILE + 4
        or frame[..., 1].max() >= NUM_COLORS
    ):
        raise ValueError(
            f"found a frame of shape {frame.shape} with categories up to {frame.reshape(-1, frame.shape[-1]).max(axis=0)}, "
            f"expected [H, W, 2] with tiles below {AGENT_TILE + 4} and colours below {NUM_COLORS}"
        )
    height, width = frame.shape[:2]
    agent_cell = (height - 1, width // 2) if view == "egocentric" else None
    image = np.empty((height * tile_size, width * tile_size, 3), np.uint8)
    for row in range(height):
        for column in range(width):
            tile, color = int(frame[row, column, 0]), int(frame[row, column, 1])
            area = np.s_[row * tile_size : (row + 1) * tile_size, column * tile_size : (column + 1) * tile_size]
            image[area] = _tile_picture(tile, color, (row, column) == agent_cell, tile_size)
    return image


def _enlarged(frame: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Each pixel as a square of ``factor`` pixels."""
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise ValueError(f"found a frame {frame.dtype} {list(frame.shape)}, expected uint8 [H, W, 3]")
    return frame.repeat(factor, axis=0).repeat(factor, axis=1)


@cache
def _tile_picture(tile: int, color: int, egocentric_agent: bool, tile_size: int) -> NDArray[np.uint8]:
    """uint8 [tile_size, tile_size, 3]."""
    if tile == _EMPTY_TILE and not egocentric_agent:
        return np.full((tile_size, tile_size, 3), _OUTSIDE, np.uint8)
    render_tile, colors = _xminigrid_tiles()
    direction = tile - AGENT_TILE if tile >= AGENT_TILE else _UP if egocentric_agent else None
    ground = (_FLOOR_TILE, _BLACK) if tile >= AGENT_TILE else (tile, color)
    picture = render_tile(ground, agent_direction=direction, tile_size=tile_size).astype(np.uint8).copy()
    if tile >= AGENT_TILE and color:
        side = max(2, round(_CARRIED_SHARE * tile_size))
        low = (tile_size - side) // 2
        picture[low : low + side, low : low + side] = colors[color]
    return picture


@cache
def _xminigrid_tiles() -> tuple[Any, Any]:
    """xminigrid's tile renderer and its colours."""
    from lamflow.envs.jax_setup import configure_jax

    configure_jax()
    from xminigrid.rendering.rgb_render import COLORS_MAP, render_tile

    return render_tile, COLORS_MAP
