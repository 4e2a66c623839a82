"""Leaps of the picture cut recordings; what changes fast all the time does not."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from video_clips import LOSSLESS, write_video

from lamflow.episodes import leaps
from lamflow.episodes.leaps import leaping, leaps_in


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([0, 1, 1, 40, 1, 1], [3]),
        ([0, 1, 19, 1], []),
        ([0, 30, 32, 40, 31, 30], []),
        ([0, 30, 32, 60, 31, 30], [3]),
        ([0, 50, 50, 1], []),
        ([0, 1, 1, 25], [3]),
        ([0, 25, 1], [1]),
        ([0], []),
    ],
    ids=["one", "small", "fast scene", "in a fast scene", "flash", "at the end", "at the begin", "one frame"],
)
def test_a_leap_is_large_and_larger_than_what_is_beside_it(changes: list[float], expected: list[int]) -> None:
    assert list(leaping(changes, 20)) == expected


def levels(folder: Path) -> Path:
    """Three levels of another colour, of 7, 5 and 8 frames, in which a square moves."""
    pictures = np.concatenate(
        [np.full((count, 64, 96, 3), grey, np.uint8) for count, grey in ((7, 30), (5, 130), (8, 70))]
    )
    for place in range(len(pictures)):
        pictures[place, 10:20, place : place + 10] = (250, 20, 20)
    return write_video(folder / "a.mkv", pictures, **LOSSLESS)


def test_levels_are_found_and_kept_while_the_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = levels(tmp_path)
    assert list(leaps_in([path, path], 20)) == [(20, (7, 12))] * 2
    said = [f"{path}: looks for leaps in all frames, once", f"{path}: 20 frames, 2 leaps"]
    assert capsys.readouterr().err.splitlines() == said
    assert list(leaps_in([path], 90)) == [(20, (7,))]
    monkeypatch.setattr(leaps, "pictures", lambda path: iter(()))
    assert list(leaps_in([path], 20)) == [(20, (7, 12))]
    os.utime(path, ns=(1, 1))
    assert list(leaps_in([path], 20)) == [(0, ())]
