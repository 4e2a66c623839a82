"""The torch PPO: advantages and rewards against slow references, the loss in closed form, and training that resumes bit by bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from interruptions import interrupt_third_rollout

from lamflow.envs.presets import preset
from lamflow.policies.actions import DiscreteActions
from lamflow.rl.advantages import RewardNormaliser, generalised_advantages
from lamflow.rl.demonstrator_settings import PixelExpertSettings
from lamflow.rl.pixel_experts import train_pixel_expert
from lamflow.rl.ppo_loss import Minibatch, ppo_loss
from lamflow.training.metrics import MetricsLog

ENV = "procgen-dodgeball"
TINY = PixelExpertSettings.model_validate(
    {
        "source": "train",
        "total_steps": 4 * 32,
        "num_envs": 4,
        "num_steps": 8,
        "epochs": 2,
        "minibatches": 2,
        "mask_duplicate_actions": True,
        "network": {"stem": "patch", "channels": [8, 8], "blocks": 1, "hidden_width": 16},
        "validate_every": 2,
        "validation_episodes": 2,
        "checkpoint_every": 1,
    }
)


def slow_advantages(
    rewards: np.ndarray, values: np.ndarray, last_values: np.ndarray, ends: np.ndarray, discount: float, decay: float
) -> np.ndarray:
    """Each advantage as its own sum of discounted temporal differences, up to the end of its episode or of the rollout."""
    following = np.concatenate([values[1:], last_values[None]])
    deltas = rewards + discount * following * ~ends - values
    advantages = np.zeros_like(rewards)
    for start, env in np.ndindex(*rewards.shape):
        for step in range(start, len(rewards)):
            advantages[start, env] += (discount * decay) ** (step - start) * deltas[step, env]
            if ends[step, env]:
                break
    return advantages


def test_advantages_equal_sums_of_temporal_differences() -> None:
    generator = np.random.default_rng(0)
    rewards, values = generator.normal(size=(2, 20, 6)).astype(np.float32)
    last_values, ends = generator.normal(size=6).astype(np.float32), generator.random((20, 6)) < 0.2
    found = generalised_advantages(
        *map(torch.from_numpy, (rewards, values, last_values, ends)), discount=0.9, gae_lambda=0.8
    )
    np.testing.assert_allclose(found, slow_advantages(rewards, values, last_values, ends, 0.9, 0.8), atol=1e-5)


def test_rewards_are_divided_by_the_deviation_of_all_discounted_returns_so_far() -> None:
    generator = np.random.default_rng(0)
    normaliser, returns, seen = RewardNormaliser(3, 0.9), np.zeros(3), []
    for _ in range(50):
        rewards, ends = generator.normal(2, 3, size=3).astype(np.float32), generator.random(3) < 0.2
        returns = returns * 0.9 + rewards
        seen.extend(returns.tolist())
        found = normaliser(rewards, ends)
        returns[ends] = 0
    np.testing.assert_allclose(found, np.clip(rewards / np.std(seen), -10, 10), rtol=1e-3)


def test_rewards_are_clipped() -> None:
    normaliser = RewardNormaliser(2, 0.9)
    for _ in range(100):
        normaliser(np.array([0.1, -0.1], np.float32), np.array([True, True]))
    assert normaliser(np.array([1e6, -1e6], np.float32), np.array([True, True])).tolist() != [1e6, -1e6]
    assert np.abs(normaliser(np.array([1e9, -1e9], np.float32), np.array([True, True]))).max() <= 10


def minibatch(count: int, num_actions: int) -> tuple[torch.Tensor, Minibatch]:
    """Logits float64 and a minibatch that was played by their own policy."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(count, num_actions, generator=generator, dtype=torch.float64)
    actions = torch.randint(num_actions, (count,), generator=generator)
    log_probs = logits.log_softmax(1).gather(1, actions[:, None])[:, 0]
    values, advantages = torch.randn(2, count, generator=generator, dtype=torch.float64)
    return logits, Minibatch((), actions, log_probs, values, advantages)


def loss_of(logits: torch.Tensor, values: torch.Tensor, batch: Minibatch, **changes: float) -> Any:
    weights = {"clip_range": 0.2, "value_coefficient": 0.0, "entropy_coefficient": 0.0, **changes}
    return ppo_loss(DiscreteActions(logits.shape[1]), logits.log_softmax(1), values, batch, **weights)


def test_the_first_gradient_is_that_of_the_policy_gradient_theorem() -> None:
    logits, batch = minibatch(64, 5)
    logits.requires_grad_()
    loss_of(logits, batch.values, batch).total.backward()
    weights = (batch.advantages - batch.advantages.mean()) / (batch.advantages.std() + 1e-8)
    actions = torch.nn.functional.one_hot(batch.samples, 5)
    expected = -weights[:, None] * (actions - logits.detach().softmax(1)) / 64  # d(-A log pi)/d logits
    torch.testing.assert_close(logits.grad, expected)


def test_beyond_the_clipping_range_a_good_action_is_not_pushed_further() -> None:
    logits, batch = minibatch(2, 3)
    batch = Minibatch(
        batch.encoded, batch.samples, batch.log_probs - 1, batch.values, torch.tensor([1.0, -1.0]).double()
    )
    logits.requires_grad_()
    loss_of(logits, batch.values, batch).total.backward()
    assert logits.grad is not None
    assert logits.grad[0].abs().max() == 0, "ratio e > 1.2 and a positive advantage: clipped"
    assert logits.grad[1].abs().max() > 0, "a bad action that became likelier is still pushed back"


def test_values_move_no_further_than_the_clipping_range_allows_a_gain() -> None:
    logits, batch = minibatch(8, 3)
    values = (batch.values + 0.5 * batch.advantages.sign()).requires_grad_()
    loss_of(logits, values, batch, value_coefficient=1.0).total.backward()
    near = batch.values + (values.detach() - batch.values).clamp(-0.2, 0.2)
    targets = batch.values + batch.advantages
    clipped = (near - targets).square() > (values.detach() - targets).square()
    assert values.grad is not None
    assert (values.grad[clipped] == 0).all() and clipped.any()


def test_masked_actions_do_not_spoil_the_entropy() -> None:
    logits = torch.tensor([[0.0, 0.0, -torch.inf]], dtype=torch.float64)
    batch = Minibatch(*((), torch.tensor([0, 1]), *torch.zeros(3, 2, dtype=torch.float64)))
    loss = loss_of(logits.repeat(2, 1), torch.zeros(2).double(), batch, entropy_coefficient=1.0)
    assert loss.terms["entropy"].item() == pytest.approx(np.log(2))


def weights_after(state_dir: Path | None, metrics: MetricsLog | None = None) -> dict[str, torch.Tensor]:
    network = train_pixel_expert(
        spec=preset(ENV), settings=TINY, seed=3, metrics=metrics or MetricsLog(), state_dir=state_dir, identity="test"
    )
    return network.state_dict()


@pytest.mark.slow
def test_an_interrupted_and_resumed_training_equals_a_straight_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight_log, resumed_log = MetricsLog(), MetricsLog()
    straight = weights_after(None, straight_log)
    rollouts = interrupt_third_rollout(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        weights_after(tmp_path)
    resumed = weights_after(tmp_path, resumed_log)
    assert len(rollouts) == 5, "three before the interruption, of which one was lost, and two after it"
    for name, tensor in straight.items():
        assert torch.equal(tensor, resumed[name]), name
    assert repr(straight_log.rows) == repr(resumed_log.rows)


@pytest.mark.slow
def test_another_seed_gives_other_weights() -> None:
    other = train_pixel_expert(
        spec=preset(ENV), settings=TINY, seed=4, metrics=MetricsLog(), state_dir=None, identity=""
    )
    assert any(
        not torch.equal(a, b) for a, b in zip(other.state_dict().values(), weights_after(None).values(), strict=True)
    )
