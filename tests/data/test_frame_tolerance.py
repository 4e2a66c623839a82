"""By how much frames that should be equal differ."""

import numpy as np

from lamflow.data.frame_tolerance import ToleranceMeter


def still_and_moving(still: list[int], moving: list[int]) -> int:
    """The tolerance measured on pairs of frames of which one pixel differs by so many levels."""
    meter = ToleranceMeter()
    for difference in [*still, *moving]:
        meter.begin()
        frames = np.zeros((2, 2, 2, 3), np.uint8)
        frames[1, 0, 1, 2] = difference
        meter.add(frames[:1])
        meter.add(frames[1:])
    return meter.tolerance


def test_noise_lies_below_the_gap() -> None:
    assert still_and_moving([0, 1, 5, 3, 2] * 20, [40, 200, 90] * 20) == 5


def test_lossless_frames_need_none() -> None:
    assert still_and_moving([0] * 50, [40, 200, 90] * 20) == 0


def test_where_everything_moves_no_frame_is_taken_for_another() -> None:
    assert still_and_moving([], [40, 200, 90] * 20) == 0
    assert still_and_moving([], list(range(5, 100))) == 0


def test_few_strays_in_the_gap_do_not_count() -> None:
    assert still_and_moving([0, 2, 4] * 100, [8] + [90] * 100) == 4


def test_episodes_do_not_follow_one_another() -> None:
    meter = ToleranceMeter()
    for value in (0, 9, 200):
        meter.begin()
        meter.add(np.full((3, 2, 2, 3), value, np.uint8))
    assert meter.tolerance == 0
