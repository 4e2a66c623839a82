"""Flow matching: the way from noise to a clean vector, and the network that predicts it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lamflow.networks.flow import FlowNetwork, integrate, noisy, step_times


def test_a_noisy_vector_is_noise_at_time_0_and_clean_at_time_1() -> None:
    clean, noise = torch.randn(3, 4), torch.randn(3, 4)
    torch.testing.assert_close(noisy(clean, noise, torch.zeros(3)), noise)
    torch.testing.assert_close(noisy(clean, noise, torch.ones(3)), clean)
    torch.testing.assert_close(noisy(clean, noise, torch.full((3,), 0.25)), 0.75 * noise + 0.25 * clean)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_perfect_prediction_is_reached_on_a_straight_line(steps: int) -> None:
    """Each step asks at the point of the line that belongs to its time."""
    clean, noise, asked = torch.randn(3, 4), torch.randn(3, 4), []

    def predict(vectors: Tensor, times: Tensor) -> Tensor:
        torch.testing.assert_close(vectors, noisy(clean, noise, times))
        asked.append(times[0].item())
        return clean

    torch.testing.assert_close(integrate(predict, noise, steps), clean)
    assert asked == pytest.approx(step_times(steps)[:-1])


def test_a_step_follows_the_velocity_of_the_prediction() -> None:
    """v = (x - z) / (1 - t): two Euler steps by hand, with a prediction that depends on where and when it is asked."""

    def predict(vectors: Tensor, times: Tensor) -> Tensor:
        return 3 * vectors + times[..., None]

    noise, (start, half, stop) = torch.randn(5, 2), step_times(2)
    assert start == 0 and 0.5 < half < 1 and stop == 1
    middle = noise + half * (predict(noise, torch.zeros(5)) - noise)
    end = middle + (1 - half) * (predict(middle, torch.full((5,), half)) - middle) / (1 - half)
    torch.testing.assert_close(integrate(predict, noise, 2), end)


def test_all_vectors_of_a_row_see_its_features() -> None:
    torch.manual_seed(0)
    network = FlowNetwork(vector_dim=2, feature_dim=3, hidden_widths=(8, 8))
    vectors, times, features = torch.randn(4, 5, 2), torch.rand(4, 5), torch.randn(4, 3)
    together = network(vectors, times, features[:, None])
    assert together.shape == (4, 5, 2)
    for row in range(4):
        torch.testing.assert_close(together[row], network(vectors[row], times[row], features[row].expand(5, -1)))
    assert not torch.allclose(together, network(vectors, times, features[:, None] + 1))
    assert not torch.allclose(together, network(vectors, times / 2, features[:, None]))
