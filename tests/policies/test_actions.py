"""Discrete actions: loss, choice and agreement by their formulas."""

import math

import pytest
import torch

from lamflow.envs.presets import preset
from lamflow.policies.actions import DiscreteActions

LOGITS = torch.tensor([[0.1, 0.6, 0.3], [0.5, 0.25, 0.25]]).log()
ACTIONS = torch.tensor([1, 2])


def test_the_loss_is_the_cross_entropy_in_nats_with_the_labels_smoothed() -> None:
    space = DiscreteActions(3)
    costs = -LOGITS
    expected = (costs[0, 1] + costs[1, 2]) / 2
    torch.testing.assert_close(space.loss(LOGITS, ACTIONS), expected)
    smoothed = 0.7 * expected + 0.3 * costs.mean()
    torch.testing.assert_close(space.loss(LOGITS, ACTIONS, label_smoothing=0.3), smoothed)


def test_answers_are_probabilities_whose_mean_is_one() -> None:
    space = DiscreteActions(3)
    answers = space.answer(LOGITS.bfloat16())
    assert answers.dtype == torch.float32
    torch.testing.assert_close(space.log_answer(LOGITS).exp(), space.answer(LOGITS))
    mean = space.average(torch.tensor([[0.25, 0.75]]), space.answer(LOGITS)[None])
    torch.testing.assert_close(mean, torch.tensor([[0.4, 0.3375, 0.2625]]))


def test_actions_are_the_most_likely_or_drawn_at_their_frequencies() -> None:
    space, generator = DiscreteActions(3), torch.Generator().manual_seed(0)
    many = space.answer(LOGITS[:1]).expand(6000, 3)
    assert set(space.choose(many, "argmax", generator).tolist()) == {1}
    for drawn, expected in (
        (space.choose(many, "sample", generator), [0.1, 0.6, 0.3]),
        (space.random(6000, generator), [1 / 3] * 3),
    ):
        frequencies = drawn.bincount(minlength=3) / 6000
        assert frequencies.tolist() == pytest.approx(expected, abs=4 * math.sqrt(0.25 / 6000))


def test_agreement_counts_right_answers_effects_and_classes() -> None:
    space = DiscreteActions(3, (0, 1, 0))
    assert space.agreement(LOGITS, ACTIONS)["accuracy"] == 0.5
    found = space.held_out_agreement(LOGITS, ACTIONS, torch.tensor([False, True]))
    assert found == {"accuracy": 0.5, "accuracy_effectful": 0.0, "accuracy_classes": 1.0}
    assert "accuracy_classes" not in DiscreteActions(3).held_out_agreement(LOGITS, ACTIONS, torch.tensor([True, True]))


def test_those_of_an_environment_have_its_classes() -> None:
    assert DiscreteActions.of(preset("xland-doorkey-5x5")) == DiscreteActions(6)
    maze = preset("procgen-maze")
    assert DiscreteActions.of(maze) == DiscreteActions(15, maze.class_of_action)
