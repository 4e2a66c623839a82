"""Label draws are random, reproducible, nested and within what the data holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_windows import arrays_of

from lamflow.data.label_budgets import LabelBudget
from lamflow.data.labels import draw_labels
from lamflow.data.windows import transition_rows

ARRAYS = arrays_of([5, 1, 7, 3, 4, 9])


def test_labels_are_distinct_transitions() -> None:
    rows = draw_labels(ARRAYS, LabelBudget(29), draw=0, seed=0)
    assert sorted(rows.tolist()) == transition_rows(ARRAYS).tolist()
    assert rows.tolist() != sorted(rows.tolist())


@pytest.mark.parametrize("unit", ["transitions", "trajectories"])
def test_a_smaller_draw_is_the_beginning_of_a_larger_one(unit: str) -> None:
    small = draw_labels(ARRAYS, LabelBudget(2, unit), draw=1, seed=3)  # type: ignore[arg-type]
    large = draw_labels(ARRAYS, LabelBudget(5, unit), draw=1, seed=3)  # type: ignore[arg-type]
    assert large[: len(small)].tolist() == small.tolist()
    assert len(large) > len(small)


def test_trajectories_are_whole_episodes() -> None:
    rows = draw_labels(ARRAYS, LabelBudget(3, "trajectories"), draw=0, seed=0)
    starts = ARRAYS.episode_starts
    lengths = {0: 5, 1: 1, 2: 7, 3: 3, 4: 4, 5: 9}
    episodes = list(dict.fromkeys(int((starts <= row).sum()) - 1 for row in rows.tolist()))
    assert len(episodes) == 3
    assert rows.tolist() == [row for e in episodes for row in range(starts[e], starts[e] + lengths[e])]


def test_episodes_without_a_transition_are_not_drawn() -> None:
    arrays = arrays_of([1, 5, 1, 1, 3], final=False)
    rows = draw_labels(arrays, LabelBudget(2, "trajectories"), draw=0, seed=0)
    assert sorted(rows.tolist()) == [1, 2, 3, 4, 8, 9]
    with pytest.raises(
        ValueError,
        match=r"train\.zarr: label count 3 trajectories: .* expected 1 to 2 \(3 episodes without a transition do not count\), "
        r"in label draw 5: lower the count",
    ):
        draw_labels(arrays, LabelBudget(3, "trajectories"), draw=5, seed=0, store=Path("data/train.zarr"))


@pytest.mark.parametrize(("draw", "seed"), [(0, 0), (2, 7)])
def test_where_every_episode_has_a_transition_the_draw_is_a_permutation_of_all(draw: int, seed: int) -> None:
    order = np.random.default_rng((seed, draw, True)).permutation(6)[:4]
    rows = draw_labels(ARRAYS, LabelBudget(4, "trajectories"), draw=draw, seed=seed)
    starts = ARRAYS.episode_starts
    firsts = [row for row in rows.tolist() if row in starts]
    assert firsts == starts[order].tolist()


def test_draws_and_seeds_differ_and_repeat() -> None:
    drawn = [
        draw_labels(ARRAYS, LabelBudget(8), draw=draw, seed=seed).tolist()
        for draw, seed in ((0, 0), (1, 0), (0, 1), (0, 0))
    ]
    assert drawn[0] == drawn[3]
    assert len({tuple(rows) for rows in drawn}) == 3


@pytest.mark.parametrize(
    ("count", "unit", "held"), [(30, "transitions", 29), (7, "trajectories", 6), (0, "transitions", 29)]
)
def test_asking_for_more_than_the_data_holds_is_refused(count: int, unit: str, held: int) -> None:
    with pytest.raises(
        ValueError, match=f"label count {count} {unit}: the episodes hold {held} {unit}, expected 1 to {held}"
    ):
        draw_labels(ARRAYS, LabelBudget(count, unit), draw=0, seed=0)  # type: ignore[arg-type]
