"""Episodes as animated GIFs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lamflow.plots.episode_film import EpisodeFilm, write_episode_film


def film(title: str, length: int, side: int = 40, outcome: str = "solved") -> EpisodeFilm:
    frames = []
    for step in range(length + 1):
        frame = np.full((side, side, 3), 30, np.uint8)
        frame[:, step % side] = (250, 200, 0)
        frames.append(frame)
    return EpisodeFilm(title, frames, [0.0] * (length - 1) + [1.0], outcome)


def durations(path: Path) -> list[int]:
    with Image.open(path) as opened:
        found = []
        for index in range(opened.n_frames):
            opened.seek(index)
            found.append(opened.info["duration"])
        assert opened.info["loop"] == 0
        return found


def test_the_film_loops_lasts_as_long_as_the_longer_episode_and_holds_its_end(tmp_path: Path) -> None:
    path = tmp_path / "episodes.gif"
    write_episode_film([film("demonstrator", 5), film("lapo, 64 labels", 12)], path, frame_ms=100, hold_ms=1500)
    found = durations(path)
    assert found == [100] * 12 + [1500]
    assert sorted(tmp_path.iterdir()) == [path]


def test_an_episode_that_ended_keeps_its_last_frame(tmp_path: Path) -> None:
    path = tmp_path / "episodes.gif"
    write_episode_film([film("short", 2), film("long", 8)], path)
    with Image.open(path) as opened:
        pages = []
        for index in (2, 8):
            opened.seek(index)
            pages.append(np.asarray(opened.convert("RGB")))
        half = pages[0].shape[1] // 2
    np.testing.assert_array_equal(pages[0][:, :half], pages[1][:, :half])
    assert (pages[0][:, half:] != pages[1][:, half:]).any()


def test_long_episodes_skip_steps_but_show_the_last_one(tmp_path: Path) -> None:
    path = tmp_path / "episodes.gif"
    write_episode_film([film("long", 95)], path, most_frames=20)
    assert len(durations(path)) in (20, 21)


def test_large_frames_are_made_smaller_and_small_ones_larger(tmp_path: Path) -> None:
    sizes = []
    for side in (20, 800):
        write_episode_film([film("one", 2, side=side)], tmp_path / "episodes.gif", side=200)
        with Image.open(tmp_path / "episodes.gif") as opened:
            sizes.append(opened.size)
    assert sizes[0] == sizes[1]


def test_a_typical_film_is_a_few_hundred_kilobytes(tmp_path: Path) -> None:
    path = tmp_path / "episodes.gif"
    write_episode_film([film("demonstrator", 30, side=288), film("agent", 150, side=288)], path)
    assert path.stat().st_size < 500_000


def test_a_film_without_frames_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        write_episode_film([EpisodeFilm("nothing", [], [])], tmp_path / "episodes.gif")
    assert not list(tmp_path.iterdir())


def test_a_film_of_detailed_pictures_leaves_steps_out_until_it_is_small_enough(tmp_path: Path) -> None:
    path, rng = tmp_path / "episodes.gif", np.random.default_rng(0)
    noise = [rng.integers(256, size=(64, 64, 3)).astype(np.uint8) for _ in range(60)]
    write_episode_film([EpisodeFilm("noise", noise, [0.0] * 60)], path, side=64)
    whole = path.stat().st_size
    write_episode_film([EpisodeFilm("noise", noise, [0.0] * 60)], path, side=64, most_bytes=whole // 3)
    assert path.stat().st_size <= whole // 3
    assert 10 <= len(durations(path)) <= 22


def test_a_film_without_the_last_frame_still_shows_the_last_reward(tmp_path: Path) -> None:
    frames = [np.zeros((40, 40, 3), np.uint8)] * 5
    pages = []
    for rewards in ([0.0] * 4 + [1.0], [0.0] * 5):
        write_episode_film([EpisodeFilm("coin", frames, rewards)], tmp_path / "episodes.gif")
        with Image.open(tmp_path / "episodes.gif") as opened:
            opened.seek(opened.n_frames - 1)
            pages.append(np.asarray(opened.convert("RGB")))
    assert (pages[0] != pages[1]).any()
