"""Label draws are random, reproducible, nested and within what the data holds."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from test_windows import arrays_of

from lamflow.data.label_budgets import LabelBudget
from lamflow.data.labels import draw_episodes, draw_labels, labelled_members
from lamflow.data.shares import MemberShares
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


def test_a_smaller_draw_of_episodes_is_a_part_of_a_larger_one() -> None:
    drawn = [draw_episodes(50, count, seed=3) for count in range(1, 51)]
    for small, large in pairwise(drawn):
        assert small is not None and large is not None
        assert set(small) < set(large) and large.tolist() == sorted(large.tolist())
    assert drawn[-1] is not None and drawn[-1].tolist() == list(range(50))
    assert draw_episodes(50, "all", seed=3) is None


def test_episodes_are_drawn_by_the_seed() -> None:
    drawn = [draw_episodes(50, 20, seed=seed) for seed in (0, 0, 1)]
    assert np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[0], drawn[2])


def test_more_episodes_than_there_are_are_refused_with_both_numbers() -> None:
    with pytest.raises(
        ValueError, match=r"train\.zarr: found 50 episodes, expected at least the 51 that are asked for"
    ):
        draw_episodes(50, 51, seed=0, store=Path("data/train.zarr"))


@pytest.mark.parametrize(("unit", "most"), [("transitions", 16), ("trajectories", 2)])
def test_labels_of_some_episodes_lie_in_these(unit: str, most: int) -> None:
    within = np.array([2, 5])
    rows = draw_labels(ARRAYS, LabelBudget(most, unit), draw=0, seed=0, within=within)  # type: ignore[arg-type]
    starts = ARRAYS.episode_starts
    expected = [row for e, length in ((2, 7), (5, 9)) for row in range(starts[e], starts[e] + length)]
    assert sorted(rows.tolist()) == expected
    with pytest.raises(ValueError, match=rf"the 2 episodes that they are drawn from hold {most} {unit}"):
        draw_labels(ARRAYS, LabelBudget(most + 1, unit), draw=0, seed=0, within=within)  # type: ignore[arg-type]


LABELLED = ARRAYS.acted & (np.arange(ARRAYS.num_rows) % 3 > 0)
LABELLED[ARRAYS.episode_starts[2] : ARRAYS.episode_starts[4]] = ARRAYS.acted[
    ARRAYS.episode_starts[2] : ARRAYS.episode_starts[4]
]
"""Two of three rows, and all of the third and the fourth episode."""
SOME = replace(ARRAYS, labelled=LABELLED)


def test_labels_are_drawn_from_rows_whose_action_is_known() -> None:
    held = int(LABELLED.sum())
    rows = draw_labels(SOME, LabelBudget(held), draw=0, seed=0)
    assert sorted(rows.tolist()) == np.flatnonzero(LABELLED).tolist()
    assert draw_labels(SOME, LabelBudget(5), draw=0, seed=0).tolist() == rows[:5].tolist()


def test_labelled_trajectories_are_those_of_which_all_actions_are_known() -> None:
    starts, drawn = ARRAYS.episode_starts, draw_labels(SOME, LabelBudget(2, "trajectories"), draw=0, seed=0)
    assert sorted(drawn.tolist()) == [*range(starts[2], starts[2] + 7), *range(starts[3], starts[3] + 3)]


def test_labels_within_episodes_are_those_that_are_known_there() -> None:
    within = np.array([0, 2])
    known = int(LABELLED[: ARRAYS.episode_starts[1]].sum()) + 7
    rows = draw_labels(SOME, LabelBudget(known), draw=0, seed=0, within=within)
    assert set(np.searchsorted(ARRAYS.episode_starts, rows, side="right") - 1) == {0, 2}
    with pytest.raises(
        ValueError, match=rf"the 2 episodes .* hold {known} transitions whose actions are known, expected"
    ):
        draw_labels(SOME, LabelBudget(known + 1), draw=0, seed=0, within=within)


@pytest.mark.parametrize(
    ("known", "unit", "message"),
    [
        (LABELLED, "trajectories", "hold 2 trajectories whose actions are known, expected 1 to 2, in label draw 0: .* record"),
        (LABELLED, "transitions", f"hold {LABELLED.sum()} transitions whose actions are known, expected 1 to {LABELLED.sum()}"),
        (LABELLED & False, "transitions", "hold 0 transitions whose actions are known, expected one at least, in label draw"),
        (LABELLED & False, "trajectories", "hold 0 trajectories whose actions are known, expected one at least"),
    ],
)  # fmt: skip
def test_asking_for_more_than_is_labelled_is_refused(known: NDArray[np.bool_], unit: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"train\.zarr: label count 40 {unit}: the episodes {message}"):
        draw_labels(
            replace(ARRAYS, labelled=known),
            LabelBudget(40, unit),  # type: ignore[arg-type]
            draw=0,
            seed=0,
            store=Path("train.zarr"),
        )


def test_labels_of_a_union_are_of_its_labelled_members_alone() -> None:
    starts = ARRAYS.episode_starts[[0, 2, 4]]
    known = ARRAYS.acted & ((np.arange(ARRAYS.num_rows) < starts[1]) | (np.arange(ARRAYS.num_rows) >= starts[2]))
    members = MemberShares(("one", "silent", "two"), starts, np.array([0.25, 0.5, 0.25]))
    arrays = replace(ARRAYS, labelled=known, members=members)
    assert labelled_members(arrays, members).shares.tolist() == [0.5, 0, 0.5]
    for draw in range(5):
        rows = draw_labels(arrays, LabelBudget(8), draw=draw, seed=0).numpy()
        assert known[rows].all()
        first, silent, second = np.bincount(members.of(rows), minlength=3)
        assert silent == 0 and abs(first - second) <= 2
