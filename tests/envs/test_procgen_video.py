"""Large pictures of episodes, rendered from their levels and actions."""

from __future__ import annotations

import numpy as np
import pytest

from lamflow.envs.interface import Episode
from lamflow.envs.presets import preset
from lamflow.envs.procgen import ProcgenVectorEnvironment
from lamflow.envs.procgen_video import render_video

SPEC = preset("procgen-coinrun")


@pytest.fixture(scope="module")
def episode() -> Episode:
    """Thirty steps of an episode."""
    environment = ProcgenVectorEnvironment(SPEC, 1)
    frames, actions = (
        [environment.reset(np.array([9])).parts["frames"][0]],
        np.random.default_rng(0).integers(15, size=30),
    )
    frames += [environment.step(action).observation.parts["frames"][0] for action in actions[:-1, None]]
    return Episode({"frames": np.stack(frames)}, actions, np.zeros(30, np.float32), False, True, 9)


def test_a_picture_shows_what_was_seen_before_its_action(episode: Episode) -> None:
    video = render_video(SPEC, 9, episode.actions, frames=episode.observations["frames"])
    assert video.shape == (30, 512, 512, 3)
    assert video.dtype == np.uint8
    small = video.reshape(30, 64, 8, 64, 8, 3).mean(axis=(2, 4))
    difference = np.abs(small[:, None] - episode.observations["frames"][None]).mean(axis=(2, 3, 4))
    moved = np.abs(np.diff(episode.observations["frames"].astype(int), axis=0)).mean(axis=(1, 2, 3)) > 5
    rows = np.flatnonzero(moved[:-1] & moved[1:]) + 1  # the view moved before and after them
    assert len(rows) > 5
    for row in rows:
        assert difference[row, row] < 0.7 * min(difference[row, row - 1], difference[row, row + 1])


def test_smaller_pictures_are_means_of_the_large_ones(episode: Episode) -> None:
    large, small = (render_video(SPEC, 9, episode.actions[:3], side=side) for side in (512, 128))
    means = large.reshape(3, 128, 4, 128, 4, 3).astype(float).mean(axis=(2, 4))
    assert np.abs(small - means).max() <= 0.5


def test_a_replay_that_goes_another_way_is_refused(episode: Episode) -> None:
    with pytest.raises(ValueError, match=r"coinrun, level 10: the replay differs from the recorded frames at step 0"):
        render_video(SPEC, 10, episode.actions, frames=episode.observations["frames"])
    with pytest.raises(ValueError, match=r"ended after \d+ of 400 actions"):
        render_video(preset("procgen-starpilot"), 0, np.full(400, 4), side=64)
    with pytest.raises(ValueError, match="found side 100, expected a divisor of 512"):
        render_video(SPEC, 9, episode.actions, side=100)
