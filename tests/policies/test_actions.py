"""Discrete and continuous actions: loss, choice and agreement by their formulas."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from lamflow.envs.presets import preset
from lamflow.policies.actions import LOG_DEVIATIONS, BoxActions, DiscreteActions, actions_of
from lamflow.spaces import Box, Unknown

LOGITS = torch.tensor([[0.1, 0.6, 0.3], [0.5, 0.25, 0.25]]).log()
ACTIONS = torch.tensor([1, 2])


def test_the_loss_is_the_cross_entropy_in_nats_with_the_labels_smoothed() -> None:
    space = DiscreteActions(3)
    costs = -LOGITS
    expected = (costs[0, 1] + costs[1, 2]) / 2
    torch.testing.assert_close(space.loss(LOGITS, ACTIONS), expected)
    smoothed = 0.7 * expected + 0.3 * costs.mean()
    torch.testing.assert_close(space.loss(LOGITS, ACTIONS, label_smoothing=0.3), smoothed)


def test_an_environment_without_actions_has_none_to_learn() -> None:
    spec = replace(preset("xland-doorkey-5x5"), name="clips", action=Unknown())
    with pytest.raises(
        ValueError, match=r"clips: its episodes have no actions, expected discrete or continuous ones.*some rows"
    ):
        actions_of(spec)


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
    assert actions_of(maze) == DiscreteActions.of(maze)


BOX = BoxActions((-2.0, 0.0, -1.0), (2.0, 4.0, 1.0))
GAUSSIAN = replace(BOX, box_loss="gaussian")
UNITS = torch.tensor([[0.0, 0.5, -1.0], [0.25, -0.5, 1.0]])
TAKEN = torch.tensor([[0.0, 3.0, -1.0], [0.5, 1.0, 1.0]])
"""The same in the space."""


def test_continuous_actions_of_an_environment_have_its_bounds() -> None:
    spec = replace(preset("xland-doorkey-5x5"), action=Box((-2.0, 0.0), (2.0, 4.0)), action_names=())
    assert actions_of(spec) == BoxActions((-2.0, 0.0), (2.0, 4.0))
    assert actions_of(spec).learnt_by("gaussian").num_outputs == 4 == 2 * actions_of(spec).num_outputs
    torch.testing.assert_close(BOX.taken(UNITS), TAKEN)


def test_the_squared_loss_is_that_of_the_tanh_in_units_of_the_space() -> None:
    outputs = torch.tensor([[0.3, -0.2, 1.5], [0.0, 2.0, -1.0]], requires_grad=True)
    loss = BOX.loss(outputs, TAKEN)
    torch.testing.assert_close(loss, (outputs.tanh() - UNITS).square().mean())
    (gradient,) = torch.autograd.grad(loss, outputs)
    torch.testing.assert_close(gradient, 2 * (outputs.tanh() - UNITS) * (1 - outputs.tanh().square()) / 6)
    with pytest.raises(ValueError, match=r"label_smoothing: found 0\.1 for continuous actions, expected 0"):
        BOX.loss(outputs, TAKEN, label_smoothing=0.1)


def test_the_gaussian_loss_is_the_negative_log_likelihood_per_entry() -> None:
    outputs = torch.randn(2, 6, generator=torch.Generator().manual_seed(0))
    likelihood = Normal(outputs[:, :3], outputs[:, 3:].exp()).log_prob(UNITS)
    torch.testing.assert_close(GAUSSIAN.loss(outputs, TAKEN), -likelihood.mean())
    torch.testing.assert_close(GAUSSIAN.answer(outputs), torch.cat([outputs[:, :3], outputs[:, 3:].exp()], dim=1))
    certain = torch.cat([UNITS, torch.full((2, 3), -99.0)], dim=1)
    assert GAUSSIAN.loss(certain, TAKEN).item() == pytest.approx(LOG_DEVIATIONS[0] + 0.5 * math.log(2 * math.pi))


def test_the_mean_of_answers_has_the_moments_of_their_mixture() -> None:
    generator = torch.Generator().manual_seed(0)
    means, deviations = torch.randn(1, 4, 3, generator=generator), torch.rand(1, 4, 3, generator=generator) + 0.1
    weights = torch.tensor([[0.1, 0.2, 0.3, 0.4]])
    mean, deviation = GAUSSIAN.average(weights, torch.cat([means, deviations], dim=-1)).chunk(2, dim=-1)
    mixture = MixtureSameFamily(Categorical(weights), Independent(Normal(means, deviations), 1))
    torch.testing.assert_close(mean, mixture.mean)
    torch.testing.assert_close(deviation.square(), mixture.variance)
    single = BOX.answer(torch.randn(5, 3, generator=generator))
    torch.testing.assert_close(BOX.average(torch.ones(5, 1), single[:, None]), single)


def test_continuous_actions_are_the_mean_or_drawn_and_never_outside_of_the_space() -> None:
    generator = torch.Generator().manual_seed(0)
    answers = torch.cat([torch.tensor([[0.5, 1.4, -0.2]]), torch.tensor([[0.1, 0.5, 0.0]])], dim=1).expand(4000, 6)
    mean = BOX.choose(answers, "argmax", generator)
    torch.testing.assert_close(mean, torch.tensor([[1.0, 4.0, -0.2]]).expand(4000, 3))
    drawn = BOX.choose(answers, "sample", generator)
    assert drawn.dtype == torch.float32
    assert drawn[:, 0].mean().item() == pytest.approx(1.0, abs=0.02), "units of 2"
    assert drawn[:, 0].std().item() == pytest.approx(0.2, rel=0.1)
    assert (drawn[:, 1] == 4.0).float().mean() > 0.7, "clipped"
    assert (drawn[:, 2] == drawn[0, 2]).all(), "no deviation, no chance"
    random = BOX.random(4000, generator)
    for found in (drawn, random):
        assert (found >= torch.tensor(BOX.low)).all() and (found <= torch.tensor(BOX.high)).all()
    np.testing.assert_allclose(random.mean(0), [0, 2, 0], atol=0.1)
    np.testing.assert_allclose(random.std(0), np.array([4, 4, 2]) / math.sqrt(12), rtol=0.05)


def test_bounds_that_float32_rounds_are_kept() -> None:
    space = BoxActions((0.1, -1.1), (0.3, 0.7))
    ends = space.taken(torch.tensor([[-1.0, -1.0], [1.0, 1.0], [-9.0, 9.0]])).numpy()
    assert (ends >= np.array(space.low, np.float32)).all() and (ends <= np.array(space.high, np.float32)).all()


def test_samples_have_the_density_and_entropy_of_a_gaussian_of_one_deviation() -> None:
    generator = torch.Generator().manual_seed(0)
    scores, spread = torch.randn(50, 3, generator=generator), torch.tensor([-1.0, 0.0, 0.5], requires_grad=True)
    distributions = BOX.distribution(scores, spread)
    samples = BOX.sample(distributions.detach(), generator)
    expected = Independent(Normal(scores, spread.exp()), 1)
    torch.testing.assert_close(BOX.log_density(distributions, samples), expected.log_prob(samples))
    torch.testing.assert_close(BOX.entropy(distributions), expected.entropy())
    (gradient,) = torch.autograd.grad(BOX.entropy(distributions).mean(), spread)
    torch.testing.assert_close(gradient, torch.ones(3))
    many = BOX.sample(distributions[:1].detach().expand(4000, 6), generator)
    np.testing.assert_allclose(many.std(0), spread.detach().exp(), rtol=0.1)


def test_discrete_samples_have_their_probabilities() -> None:
    space = DiscreteActions(3)
    distributions = space.distribution(LOGITS, torch.zeros(0))
    torch.testing.assert_close(space.log_density(distributions, ACTIONS), Categorical(logits=LOGITS).log_prob(ACTIONS))
    torch.testing.assert_close(space.entropy(distributions), Categorical(logits=LOGITS).entropy())


def test_agreement_of_continuous_actions_is_the_share_of_their_variance_per_entry() -> None:
    generator = torch.Generator().manual_seed(0)
    true = torch.rand(1000, 3, generator=generator) * 2 - 1
    wrong = torch.stack([true[:, 0], true[:, 1].flip(0), torch.zeros(1000)], dim=1)
    outputs = wrong.clamp(-0.999999, 0.999999).atanh()
    space = BoxActions((-1.0,) * 3, (1.0,) * 3)
    found = space.held_out_agreement(outputs, true, torch.arange(1000) < 500)
    assert found["r2_entry0"] == pytest.approx(1, abs=1e-3)
    assert found["r2_entry1"] == pytest.approx(-1, abs=0.2), "as if drawn anew: twice the variance"
    assert found["r2_entry2"] == pytest.approx(0, abs=0.01)
    assert found["r2"] == pytest.approx(sum(found[f"r2_entry{index}"] for index in range(3)) / 3)
    assert found["r2"] == pytest.approx(space.agreement(outputs, true)["r2"].item(), abs=1e-6)
    assert found["r2_effectful"] != found["r2"]
    still = true.clone()
    still[:, 2] = 0.5
    assert math.isnan(space.held_out_agreement(outputs, still, torch.ones(1000).bool())["r2_entry2"]), "does not vary"
