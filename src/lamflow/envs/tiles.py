"""Tile and colour ids of XLand-MiniGrid, as its grids have them."""

from __future__ import annotations

NUM_TILES = 13
"""Tile ids of XLand-MiniGrid (0 empty .. 12 star)."""
NUM_COLORS = 12
"""Colour ids of XLand-MiniGrid (0 empty .. 11 pink)."""
AGENT_TILE = NUM_TILES
"""In the full view the agent is drawn as tile ``AGENT_TILE + direction`` (up, right, down, left); its colour id is that
of the object it carries, 0 when it carries nothing."""
NUM_TILES_FULL = NUM_TILES + 4
VIEW_SIZE = 5
"""Side of the egocentric view."""
