"""Pictures of frames."""

import numpy as np
import pytest
from xminigrid.rendering.rgb_render import render_tile

from lamflow.envs.rendering import render_frame
from lamflow.envs.tiles import AGENT_TILE

FLOOR = (1, 7)


def floor(side: int) -> np.ndarray:
    return np.tile(np.array(FLOOR, np.uint8), (side, side, 1))


def test_tiles_are_drawn_as_xminigrid_draws_them() -> None:
    frame = floor(6)
    frame[0, 0], frame[5, 5] = (AGENT_TILE + 1, 0), (7, 5)
    image = render_frame(frame, view="full", tile_size=16)
    assert image.shape == (96, 96, 3)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image[80:, 80:], render_tile((7, 5), tile_size=16).astype(np.uint8))
    np.testing.assert_array_equal(image[:16, :16], render_tile(FLOOR, agent_direction=1, tile_size=16).astype(np.uint8))


def test_the_carried_colour_and_the_direction_show() -> None:
    pictures = []
    for agent in ((AGENT_TILE, 0), (AGENT_TILE + 2, 0), (AGENT_TILE, 5)):
        frame = floor(3)
        frame[1, 1] = agent
        pictures.append(render_frame(frame, view="full").tobytes())
    assert len(set(pictures)) == 3


def test_an_egocentric_view_has_its_agent_at_the_bottom_looking_up() -> None:
    image = render_frame(floor(5), view="egocentric", tile_size=16)
    np.testing.assert_array_equal(
        image[64:, 32:48], render_tile(FLOOR, agent_direction=0, tile_size=16).astype(np.uint8)
    )
    np.testing.assert_array_equal(image[:16, :16], render_tile(FLOOR, tile_size=16).astype(np.uint8))


def test_a_full_view_that_has_lost_its_agent_shows_none() -> None:
    image = render_frame(floor(5), view="full", tile_size=16)
    tiles = image.reshape(5, 16, 5, 16, 3).swapaxes(1, 2)
    assert (tiles == tiles[0, 0]).all()


def test_frames_with_unknown_categories_are_refused() -> None:
    frame = floor(3)
    frame[0, 0, 0] = AGENT_TILE + 4
    with pytest.raises(ValueError, match=r"tiles below 17"):
        render_frame(frame, view="full")


def test_pixels_are_their_own_picture_enlarged_by_a_whole_number() -> None:
    frame = np.random.default_rng(0).integers(256, size=(64, 64, 3)).astype(np.uint8)
    image = render_frame(frame, view="pixels", tile_size=4)
    assert image.shape == (256, 256, 3)
    np.testing.assert_array_equal(image[::4, ::4], frame)
    np.testing.assert_array_equal(image[3::4, 2::4], frame)
    np.testing.assert_array_equal(render_frame(frame, view="pixels", tile_size=1), frame)
    with pytest.raises(ValueError, match=r"found a frame uint8 \[64, 64, 2\], expected uint8 \[H, W, 3\]"):
        render_frame(frame[..., :2], view="pixels")
