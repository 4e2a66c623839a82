"""Figures of latents and codes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lamflow.envs.xland_presets import MINIGRID_ACTIONS
from lamflow.evaluation.codes import count_codes
from lamflow.plots.code_actions import MOST_CODES, draw_code_actions
from lamflow.plots.film_strip import difference_picture, draw_film_strip
from lamflow.plots.latent_panels import LatentPanel
from lamflow.plots.latent_space import draw_latent_space, principal_plane
from lamflow.plots.latent_umap import LEAST_POINTS, draw_latent_umap, umap_plane

SvgTexts = Callable[[Figure], list[str]]


def clusters(count: int = 300, dim: int = 8) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    actions = rng.integers(6, size=count)
    latents = rng.normal(0, 3, (6, dim))[actions] + rng.normal(0, 0.2, (count, dim))
    return latents.astype(np.float32), actions


def test_principal_plane_finds_the_directions_of_largest_variance() -> None:
    rng = np.random.default_rng(0)
    plane = rng.normal(0, [5, 2], (500, 2))
    turn, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    latents = (plane @ turn[:2] + 7).astype(np.float32)
    coordinates, explained = principal_plane(latents)
    centred = plane - plane.mean(0)
    np.testing.assert_allclose(coordinates @ coordinates.T, centred @ centred.T, atol=1e-2)
    assert explained.sum() == pytest.approx(1, abs=1e-6)
    assert explained[0] > explained[1]


def test_principal_plane_of_a_single_dimension_or_of_equal_points_is_finite() -> None:
    coordinates, explained = principal_plane(np.arange(5, dtype=np.float32)[:, None])
    assert coordinates.shape == (5, 2) and explained.tolist() == [1, 0]
    coordinates, explained = principal_plane(np.ones((4, 3), np.float32))
    assert not coordinates.any() and not explained.any()


def test_latent_space_names_panels_and_actions(svg_texts: SvgTexts) -> None:
    latents, actions = clusters()
    empty = LatentPanel("nothing", latents[:0], actions[:0])
    texts = svg_texts(draw_latent_space([LatentPanel("lapo, seed 0", latents, actions), empty], MINIGRID_ACTIONS))
    assert {"lapo, seed 0", "nothing", "no effectful transitions", *MINIGRID_ACTIONS} <= set(texts)
    assert any(text.startswith("component 1 (") for text in texts)


def test_latent_space_lists_only_actions_that_occur(svg_texts: SvgTexts) -> None:
    latents, actions = clusters()
    chosen = actions < 3
    texts = svg_texts(draw_latent_space([LatentPanel("lapo", latents[chosen], actions[chosen])], MINIGRID_ACTIONS))
    assert "turn left" in texts and "toggle" not in texts


@pytest.mark.slow
def test_umap_keeps_clusters_apart_and_repeats_itself() -> None:
    latents, actions = clusters()
    plane = umap_plane(latents)
    assert plane.shape == (len(latents), 2)
    centres = np.stack([plane[actions == action].mean(0) for action in range(6)])
    nearest = np.linalg.norm(plane[:, None] - centres, axis=-1).argmin(1)
    assert (nearest == actions).mean() > 0.95
    np.testing.assert_array_equal(plane, umap_plane(latents))


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 1), (LEAST_POINTS - 1, 3), (LEAST_POINTS, 1), (12, 1)])
def test_umap_of_few_points_or_of_one_dimension_is_finite(shape: tuple[int, int]) -> None:
    plane = umap_plane(np.random.default_rng(0).random(shape).astype(np.float32))
    assert plane.shape == (shape[0], 2) and np.isfinite(plane).all()


def test_umap_of_equal_latents_is_finite() -> None:
    assert np.isfinite(umap_plane(np.ones((40, 3), np.float32))).all()
    repeated = np.random.default_rng(0).random((LEAST_POINTS, 3)).repeat(8, 0).astype(np.float32)
    assert np.isfinite(umap_plane(repeated)).all()


def test_copies_of_a_latent_are_one_point_of_umap_and_change_nothing() -> None:
    latents = np.random.default_rng(0).random((60, 4)).astype(np.float32)
    plane = umap_plane(latents[[*range(60), *([7] * 30)]])
    np.testing.assert_array_equal(plane[:60], umap_plane(latents))
    np.testing.assert_array_equal(plane[60:], np.repeat(plane[7:8], 30, axis=0))


def test_latent_umap_names_panels_and_says_where_there_is_nothing(svg_texts: SvgTexts) -> None:
    latents, actions = clusters(40)
    empty = LatentPanel("nothing", latents[:0], actions[:0])
    texts = svg_texts(draw_latent_umap([LatentPanel("lapo, seed 0", latents, actions), empty], MINIGRID_ACTIONS))
    assert {"lapo, seed 0", "nothing", "no effectful transitions", "UMAP 1", "UMAP 2"} <= set(texts)


def test_code_actions_group_codes_by_their_action(svg_texts: SvgTexts) -> None:
    _, actions = clusters()
    codes = (5 - actions)[:, None] * 10 + np.random.default_rng(1).integers(2, size=(len(actions), 1))
    figure = draw_code_actions(count_codes(codes, actions, num_actions=6), MINIGRID_ACTIONS, title="lapo, seed 0")
    shown = figure.axes[1].images[0].get_array()
    assert shown.argmax(0).tolist() == sorted(shown.argmax(0).tolist())
    texts = svg_texts(figure)
    assert {"lapo, seed 0", "P(action | code)", "forward", "50", "51"} <= set(texts)
    assert "12 codes occur. Best code-to-action table: 100.0% right." in texts


def test_code_actions_show_the_most_frequent_of_many_codes(svg_texts: SvgTexts) -> None:
    _, actions = clusters(1000)
    codes = np.random.default_rng(0).integers(4, size=(1000, 8))
    figure = draw_code_actions(count_codes(codes, actions, num_actions=6), MINIGRID_ACTIONS, title="many")
    assert figure.axes[1].images[0].get_array().shape == (6, MOST_CODES)
    assert any(f"the {MOST_CODES} shown cover" in text for text in svg_texts(figure))


def render(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return (frame[..., :1].repeat(4, 0).repeat(4, 1) * np.array([1, 2, 3])).astype(np.uint8)


def test_film_strip_outlines_exactly_the_changed_cells(svg_texts: SvgTexts) -> None:
    start = np.zeros((5, 5, 2), np.uint8)
    true_next = start.copy()
    true_next[4, 4] = 3
    predictions = np.zeros((3, 5, 5, 2), np.uint8)
    predictions[1, 2, 3, 0] = 7
    predictions[2, :2, 0, 1] = 1
    figure = draw_film_strip(
        start_frame=start,
        true_next=true_next,
        true_action="turn left",
        predictions=predictions,
        captions=["code 4 (50%)\nforward 98%", "code 0 (30%)\ntoggle 60%", "code 2 (20%)\npick up 51%"],
        render=render,
        title="doorkey, lapo",
    )
    assert [len(panel.patches) for panel in figure.axes[:5]] == [0, 1, 0, 1, 2]
    box = figure.axes[3].patches[0].get_bbox()
    assert (box.x0, box.y0, box.width, box.height) == (11.5, 7.5, 4, 4)
    texts = " ".join(svg_texts(figure))
    for part in ("doorkey, lapo", "now", "really next:", "turn left", "code 4 (50%)", "toggle 60%", "differ from now"):
        assert part in texts


def test_film_strip_of_pixels_shows_frames_as_they_are_and_under_them_what_differs_from_now(
    svg_texts: SvgTexts,
) -> None:
    start = np.full((64, 64, 3), 100, np.uint8)
    moved = start.copy()
    moved[10:14, 20:24], moved[40:44, 20:24] = 250, 0
    figure = draw_film_strip(
        start_frame=start,
        true_next=moved,
        true_action="up",
        predictions=np.stack([start, moved]),
        captions=["if code 0 (60%)", "if code 1 (40%)"],
        render=lambda frame: frame,
        title="coinrun",
    )
    images = [np.asarray(panel.images[0].get_array(), int) if panel.images else None for panel in figure.axes]
    for shown, frame in zip(images[:4], [start, moved, start, moved], strict=True):
        np.testing.assert_array_equal(shown, frame)
    assert images[6] is None, "now does not differ from now"
    same, differs = images[8], images[9]
    assert same is not None and differs is not None
    np.testing.assert_array_equal(images[7], differs)
    assert same.min() == 255, "white"
    brighter, darker = differs[12, 22], differs[42, 22]
    assert brighter[0] > brighter[2] and darker[2] > darker[0] and differs[60, 60].min() == 255
    assert not any(panel.patches for panel in figure.axes)
    assert {"brighter than now", "darker than now", "as now"} <= set(svg_texts(figure))


def test_colours_that_change_at_equal_brightness_are_drawn_as_different() -> None:
    before, after = (np.broadcast_to(np.array(colour, np.uint8), (2, 2, 3)) for colour in ((90, 30, 60), (30, 90, 60)))
    assert difference_picture(before, after).min() < 200


def test_film_strip_needs_a_caption_for_each_prediction() -> None:
    with pytest.raises(ValueError, match="1 captions for 2 predictions"):
        draw_film_strip(
            start_frame=np.zeros((5, 5, 2), np.uint8),
            true_next=np.zeros((5, 5, 2), np.uint8),
            true_action="forward",
            predictions=np.zeros((2, 5, 5, 2), np.uint8),
            captions=["one"],
            render=render,
            title="",
        )
