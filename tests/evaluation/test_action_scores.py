"""Scores of answers to recorded actions: closed forms, tables, intervals, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from lamflow.evaluation.action_errors import ActionErrors, action_errors, best_constant
from lamflow.evaluation.action_scores import aggregate_rows, read_action_errors, score_rows
from lamflow.evaluation.columns import ACTION_AGGREGATE_COLUMNS, ACTION_SCORE_COLUMNS, ACTIONS_COLUMNS
from lamflow.evaluation.statistics import resample, resample_scores, scores_of
from lamflow.spaces import ActionSpace, Box, Discrete
from lamflow.stages.summarise_actions import summarise_actions

DISCRETE, BOX = Discrete(4), Box((-1.0, -2.0), (1.0, 2.0))
EPISODES = torch.tensor([0, 0, 0, 2, 2, 5, 5, 5, 5, 5])
TRUE = torch.tensor([1, 1, 3, 1, 0, 1, 1, 2, 1, 1])
TRUE_BOX = torch.linspace(-1, 1, 10)[:, None] ** torch.tensor([[1, 2]])


def score(found: ActionErrors, member: int = 0) -> float:
    return float(scores_of(found.errors[member].sum(0).numpy(), found.scales.sum(0).numpy()))


def constant_score(found: ActionErrors) -> float:
    return float(scores_of(found.constant.sum(0).numpy(), found.scales.sum(0).numpy()))


def errors_of(space: ActionSpace, answered: Tensor, true: Tensor) -> ActionErrors:
    return action_errors(space, answered, true, EPISODES, best_constant(space, true))


def test_right_answers_score_1_and_constant_ones_the_share_of_their_action() -> None:
    answered = torch.stack([TRUE, torch.ones_like(TRUE), torch.full_like(TRUE, 3), (TRUE + 1) % 4])
    found = errors_of(DISCRETE, answered, TRUE)
    assert [score(found, member) for member in range(4)] == pytest.approx([1, 0.7, 0.1, 0])
    assert constant_score(found) == pytest.approx(0.7)
    assert found.episodes.tolist() == [0, 2, 5] and found.rows.tolist() == [3, 2, 5]
    assert found.errors[1, :, 0].tolist() == [1, 1, 1]


def test_of_continuous_actions_the_mean_scores_0_and_half_the_error_three_quarters() -> None:
    mean = TRUE_BOX.mean(0).expand_as(TRUE_BOX)
    found = errors_of(BOX, torch.stack([TRUE_BOX, mean, (TRUE_BOX + mean) / 2]), TRUE_BOX)
    assert [score(found, member) for member in range(3)] == pytest.approx([1, 0, 0.75], abs=1e-6)
    assert constant_score(found) == pytest.approx(0)


def test_an_entry_that_never_varies_does_not_count() -> None:
    still = TRUE_BOX.clone()
    still[:, 1] = 0.5
    wrong = still + torch.tensor([0.0, 0.3])
    assert score(errors_of(BOX, wrong[None], still)) == pytest.approx(1)
    assert score(errors_of(BOX, still[None], torch.full_like(still, 0.5))) == 0, "nothing varies"


def test_blocks_of_episodes_have_the_errors_of_all() -> None:
    answered = torch.stack([TRUE.roll(1), TRUE.roll(2)])
    constant = best_constant(DISCRETE, TRUE)
    parts = [
        action_errors(DISCRETE, answered[:, part], TRUE[part], EPISODES[part], constant)
        for part in (slice(0, 3), slice(3, 10))
    ]
    joined, whole = ActionErrors.joined(parts), errors_of(DISCRETE, answered, TRUE)
    for name in ("episodes", "rows", "errors", "constant", "scales"):
        assert torch.equal(getattr(joined, name), getattr(whole, name)), name


def test_resamples_of_episodes_of_one_row_are_those_of_their_mean() -> None:
    """With a single entry and equal scales the score is the mean over episodes, which the other bootstrap resamples."""
    wrong = np.random.default_rng(0).integers(0, 2, (3, 2, 7, 1)).astype(float)
    ours = resample_scores(wrong, np.ones_like(wrong), samples=300, seed=5)
    theirs = resample(1 - wrong[..., 0], samples=300, seed=5)
    np.testing.assert_allclose(ours.scores, theirs.scores)
    np.testing.assert_allclose(ours.resamples, theirs.resamples)


WriteActions = Callable[..., Path]


@pytest.fixture
def write_actions(tmp_path: Path) -> WriteActions:
    """Writes an ``actions.csv`` of 5 episodes of 10 rows; ``wrong``: by label budget, the wrong answers of each episode."""

    def write(
        env: str = "mine",
        method: str = "lapo",
        seed: int = 0,
        wrong: dict[str, int] | None = None,
        draws: int = 2,
        episodes: int = 5,
        what: str = "agent",
    ) -> Path:
        rows = [
            (env, method, seed, labels, draw, "all", what, "accuracy", episode, 10, 0, (count + episode) % 10, 6, 10)
            for labels, count in (wrong or {"16": 5, "64": 2}).items()
            for draw in range(draws)
            for episode in range(episodes)
        ]
        path = tmp_path / env / method / what / f"seed{seed}" / "actions.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows, columns=list(ACTIONS_COLUMNS)).to_csv(path, index=False)
        return path

    return write


def test_the_tables_have_the_scores_and_intervals_around_them(write_actions: WriteActions, tmp_path: Path) -> None:
    paths = [write_actions(seed=0), write_actions(seed=1), write_actions(method="bc"), write_actions(what="decoder")]
    scores, aggregate = tmp_path / "action_scores.csv", tmp_path / "action_aggregate.csv"
    summarise_actions(actions=paths, output_scores=scores, output_aggregate=aggregate, bootstrap_samples=100)
    agents, methods = pd.read_csv(scores), pd.read_csv(aggregate)
    assert tuple(agents.columns) == ACTION_SCORE_COLUMNS and tuple(methods.columns) == ACTION_AGGREGATE_COLUMNS
    of_64 = agents[(agents["labels"] == 64)]
    assert len(of_64) == 8 and np.allclose(of_64["score"], 1 - (2 + 3 + 4 + 5 + 6) / 50)
    assert (agents["episodes"] == 5).all() and (agents["rows"] == 50).all() and np.allclose(agents["constant"], 0.4)
    both = methods[(methods["method"] == "lapo") & (methods["what"] == "agent") & (methods["labels"] == 64)].iloc[0]
    assert (both["num_seeds"], both["num_draws"]) == (2, 2)
    assert both["score"] == pytest.approx(0.6) and both["low"] < 0.6 < both["high"]
    assert scores.with_suffix(".json").exists() and aggregate.with_suffix(".json").exists()


def test_a_method_beside_others_changes_no_interval(write_actions: WriteActions) -> None:
    alone = aggregate_rows(read_action_errors([write_actions()]), samples=50)
    beside = aggregate_rows(read_action_errors([write_actions(), write_actions(method="bc")]), samples=50)
    assert [row for row in beside if row["method"] == "lapo"] == alone


def test_without_a_known_action_the_tables_are_empty(write_actions: WriteActions, tmp_path: Path) -> None:
    path = write_actions(episodes=0)
    errors = read_action_errors([path])
    assert score_rows(errors) == aggregate_rows(errors, samples=10) == []


def test_scores_of_another_experiment_are_refused(write_actions: WriteActions) -> None:
    paths = [write_actions(seed=0), write_actions(seed=1, episodes=4)]
    with pytest.raises(ValueError, match="mine, lapo, labels 16, agent: every seed needs the same label draws"):
        aggregate_rows(read_action_errors(paths), samples=10)


def test_a_result_that_is_given_twice_is_refused(write_actions: WriteActions) -> None:
    path = write_actions()
    with pytest.raises(
        ValueError, match=r"actions\.csv: holds mine, lapo, seed 0, labels 16, draw 0, agent, episode 0"
    ):
        read_action_errors([path, path])


def test_without_a_file_there_is_nothing_to_read() -> None:
    with pytest.raises(ValueError, match=r"no actions\.csv files were given"):
        read_action_errors([])


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("what", "oracle", "line 2, column what: found 'oracle', expected agent or decoder"),
        ("measure", "mse", "line 2, column measure: found 'mse', expected accuracy or r2"),
        ("error", "-1", "line 2, column error: found '-1', expected a finite number"),
        ("rows", "0", "line 2, column rows: found '0', expected an integer of at least 1"),
        ("labels", "few", "line 2, column labels: label budget 'few'"),
    ],
)
def test_a_damaged_cell_is_named(column: str, cell: str, message: str, write_actions: WriteActions) -> None:
    path = write_actions()
    table = pd.read_csv(path, dtype=str)
    table.loc[0, column] = cell
    table.to_csv(path, index=False)
    with pytest.raises(ValueError, match=message):
        read_action_errors([path])
