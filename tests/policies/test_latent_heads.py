"""Distributions over latents: closed forms, and modes that a mean squared error averages away."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from lamflow.policies.flow_head import FlowHead
from lamflow.policies.flow_settings import FlowSettings
from lamflow.policies.latent_heads import LatentHead
from lamflow.policies.learning import latent_objective
from lamflow.policies.mixture_head import MIN_DEVIATION, MixtureHead
from lamflow.policies.mixture_settings import MixtureSettings

HEADS: list[MixtureSettings | FlowSettings] = [
    MixtureSettings(components=3),
    FlowSettings(hidden_widths=(64, 64), samples=8),
]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def new_head(settings: MixtureSettings | FlowSettings, latent_dim: int = 2, feature_dim: int = 4) -> LatentHead:
    torch.manual_seed(0)
    return settings.build(latent_dim=latent_dim, feature_dim=feature_dim)


def two_modes(count: int, share: float = 0.5) -> Tensor:
    """(3, 10) or (1, 10), the first with probability ``share``, each with a little noise: [count, 2]."""
    first = torch.rand(count) < share
    centres = torch.where(first[:, None], torch.tensor([3.0, 10.0]), torch.tensor([1.0, 10.0]))
    return centres + 0.05 * torch.randn(count, 2)


def fitted(head: LatentHead, targets: Tensor) -> Tensor:
    """The outputs [1, O] of a policy that sees the same observation always, trained together with the head."""
    head.standardise(targets.mean(0), targets.std(0))
    outputs = torch.nn.Parameter(0.1 * torch.randn(1, head.num_outputs))
    optimizer = torch.optim.Adam([outputs, *head.parameters()], lr=1e-2)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=600)
    for _ in range(600):
        batch = targets[torch.randint(len(targets), (128,))]
        optimizer.zero_grad()
        head.loss(outputs.expand(len(batch), -1), batch).backward()
        optimizer.step()
        schedule.step()
    return outputs.detach()


@pytest.mark.slow
@pytest.mark.parametrize("settings", HEADS, ids=["mixture", "flow"])
def test_both_modes_are_drawn_at_their_frequencies(settings: MixtureSettings | FlowSettings) -> None:
    head = new_head(settings)
    outputs = fitted(head, two_modes(2000, share=0.7))
    with torch.no_grad():
        weights, latents = head.draw(outputs.expand(500, -1), generator())
    torch.testing.assert_close(weights.sum(1), torch.ones(500))
    shares = {}
    for mode in (3.0, 1.0):
        near = (latents - torch.tensor([mode, 10.0])).abs().amax(-1) < 0.5
        shares[mode] = (weights * near).sum(1).mean().item()
    assert shares[3.0] + shares[1.0] > 0.85, "a few Euler steps leave some draws in between"
    assert shares[3.0] == pytest.approx(0.7, abs=0.08)


def test_the_mean_squared_error_averages_the_modes_away() -> None:
    """What both heads are for: the minimiser lies between the modes, where nothing is."""
    torch.manual_seed(0)
    targets = two_modes(2000)
    output = torch.nn.Parameter(torch.zeros(1, 2))
    optimizer = torch.optim.Adam([output], lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        latent_objective(output.expand(len(targets), -1), targets).backward()
        optimizer.step()
    assert output[0, 0].item() == pytest.approx(2, abs=0.1)


def test_the_mixtures_loss_is_the_negative_log_likelihood_of_standardised_latents() -> None:
    head = new_head(MixtureSettings(components=3))
    assert isinstance(head, MixtureHead)
    mean, deviation = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 3.0])
    head.standardise(mean, deviation)
    outputs, latents = torch.randn(7, head.num_outputs), torch.randn(7, 2)
    logits, means, raw = outputs.unflatten(1, (3, 5)).split([1, 2, 2], dim=-1)
    log_deviations = math.log(MIN_DEVIATION) + torch.log1p((raw - math.log(MIN_DEVIATION)).exp())
    expected = MixtureSameFamily(
        Categorical(logits=logits[..., 0]), Independent(Normal(head.centres + means, log_deviations.exp()), 1)
    )
    likelihoods = expected.log_prob((latents - mean) / deviation)
    torch.testing.assert_close(head.loss(outputs, latents), -likelihoods.mean() / 2)


def test_the_mixture_draws_the_means_of_its_components_with_their_weights() -> None:
    head = new_head(MixtureSettings(components=2))
    assert isinstance(head, MixtureHead)
    head.standardise(torch.tensor([1.0, 0.0]), torch.tensor([2.0, 1.0]))
    with torch.no_grad():
        head.centres.zero_()
    one = torch.tensor([math.log(0.25), 1.0, 2.0, 9.0, 9.0, math.log(0.75), -1.0, 0.0, 9.0, 9.0])
    weights, latents = head.draw(one[None], generator())
    torch.testing.assert_close(weights, torch.tensor([[0.25, 0.75]]))
    torch.testing.assert_close(latents, torch.tensor([[[3.0, 2.0], [-1.0, 0.0]]]))


def test_the_likelihood_of_latents_that_are_all_the_same_is_bounded() -> None:
    head = new_head(MixtureSettings(components=1))
    outputs = torch.cat([torch.zeros(1, 1), -head.get_parameter("centres"), torch.full((1, 2), -1e4)], dim=1)
    bound = math.log(MIN_DEVIATION) + 0.5 * math.log(2 * math.pi)
    assert head.loss(outputs, torch.zeros(1, 2)).item() == pytest.approx(bound)


def test_a_dimension_in_which_latents_do_not_differ_does_no_harm() -> None:
    for settings in HEADS:
        head = new_head(settings)
        head.standardise(torch.tensor([1.0, 2.0]), torch.tensor([1e-8, 1.0]))
        assert head.deviation.tolist() == [1, 1]
        assert torch.isfinite(head.loss(torch.zeros(3, head.num_outputs), torch.ones(3, 2)))


def test_a_flow_draws_the_same_for_the_same_seed_and_different_latents_for_a_row() -> None:
    head = new_head(FlowSettings(hidden_widths=(8,), samples=3))
    outputs = torch.randn(5, 4)
    draws = [head.draw(outputs, generator(seed))[1] for seed in (0, 0, 1)]
    assert draws[0].shape == (5, 3, 2)
    assert torch.equal(draws[0], draws[1]) and not torch.allclose(draws[0], draws[2])
    assert not torch.allclose(draws[0][:, 0], draws[0][:, 1])


def test_what_latents_are_standardised_by_is_kept_with_the_weights() -> None:
    for settings in HEADS:
        head, other = new_head(settings), new_head(settings)
        head.standardise(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]))
        other.load_state_dict(head.state_dict())
        assert other.mean.tolist() == [1, 2] and other.deviation.tolist() == [3, 4]


def test_the_flows_loss_repeats_with_torchs_generator() -> None:
    head = new_head(HEADS[1])
    assert isinstance(head, FlowHead)
    losses = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        losses.append(head.loss(torch.ones(6, 4), torch.zeros(6, 2)).item())
    assert losses[0] == losses[1] != losses[2]
