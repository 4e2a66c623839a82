"""Counting the true actions under each code."""

from __future__ import annotations

import numpy as np
import pytest

from lamflow.envs.presets import preset
from lamflow.envs.xland_presets import MINIGRID_ACTIONS
from lamflow.evaluation.codes import CodeTable, count_codes, group_by_action, name_classes


def test_codes_are_counted_jointly_and_most_frequent_first() -> None:
    codes = np.array([[1, 2], [1, 2], [1, 3], [1, 2], [0, 3]])
    table = count_codes(codes, np.array([0, 0, 1, 1, 2]), num_actions=3)
    assert table.names[0] == "1-2"
    assert table.counts[0].tolist() == [2, 1, 0]
    assert table.frequencies.tolist() == pytest.approx([0.6, 0.2, 0.2])
    assert table.purity == pytest.approx(4 / 5)


def test_codes_and_actions_must_match() -> None:
    with pytest.raises(ValueError, match="2 codes for 3 actions"):
        count_codes(np.zeros((2, 1), np.int64), np.zeros(3, np.int64), num_actions=6)


def test_codes_are_grouped_by_their_action_and_sorted_by_frequency_within() -> None:
    table = CodeTable(np.arange(4)[:, None], np.array([[0, 9], [8, 0], [1, 4], [2, 0]]))
    assert group_by_action(table, 4).tolist() == [1, 3, 0, 2]
    assert group_by_action(table, 3).tolist() == [1, 0, 2]


def test_actions_that_do_the_same_are_one_class_with_one_name() -> None:
    actions, names = name_classes(preset("procgen-maze"), np.array([0, 1, 2, 3, 4, 5, 7, 9, 14]))
    assert [names[action] for action in actions] == ["left"] * 3 + ["down", "none", "up", "right"] + ["none"] * 2
    assert len(names) == 5
    kept, unchanged = name_classes(preset("xland-doorkey-5x5"), np.arange(6))
    assert (kept.tolist(), unchanged) == (list(range(6)), MINIGRID_ACTIONS)
