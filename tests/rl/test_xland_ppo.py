"""PPO: advantages against a slow reference, learning in seconds."""

import jax.numpy as jnp
import numpy as np
import pytest

from lamflow.config import ExpertSettings
from lamflow.envs.levels import draw_levels
from lamflow.envs.rollouts import rollout
from lamflow.envs.xland import make_simulator
from lamflow.rl.xland_actor_critic import sample_action
from lamflow.rl.xland_ppo import METRICS, advantages_of, train_ppo

ENV = "xland-doorkey-5x5"


def slow_advantages(
    rewards: np.ndarray, values: np.ndarray, next_values: np.ndarray, terminals: np.ndarray, ends: np.ndarray
) -> np.ndarray:
    """Sums of discounted temporal differences up to the end of the episode or of the rollout, one by one."""
    advantages = np.zeros_like(rewards)
    for env in range(rewards.shape[1]):
        for start in range(len(rewards)):
            weight = 1.0
            for step in range(start, len(rewards)):
                bootstrap = 0.0 if terminals[step, env] else 0.9 * next_values[step, env]
                advantages[start, env] += weight * (rewards[step, env] + bootstrap - values[step, env])
                weight *= 0.9 * 0.8
                if ends[step, env]:
                    break
    return advantages


def test_advantages_equal_a_slow_reference() -> None:
    generator = np.random.default_rng(0)
    rewards, values, next_values = (generator.normal(size=(20, 6)).astype(np.float32) for _ in range(3))
    ends = generator.random((20, 6)) < 0.2
    terminals = ends & (generator.random((20, 6)) < 0.5)
    found = advantages_of(*map(jnp.asarray, (rewards, values, next_values, terminals, ends)), 0.9, 0.8)
    np.testing.assert_allclose(found, slow_advantages(rewards, values, next_values, terminals, ends), atol=1e-5)


def test_ppo_learns_doorkey_on_levels_that_it_never_saw() -> None:
    simulator = make_simulator(ENV)
    settings = ExpertSettings(target_return=0.95)
    params, metrics = train_ppo(simulator, draw_levels(ENV, "train", 1024, seed=0), settings, seed=0)
    assert set(metrics) == set(METRICS)
    assert np.isfinite(metrics["entropy"]).all()
    assert metrics["return"][-1] >= 0.95
    assert len(metrics["return"]) < settings.total_steps // (settings.num_envs * settings.num_steps), "it stopped early"
    episodes = list(rollout(simulator, sample_action, params, draw_levels(ENV, "test", 256, seed=0), seed=0))
    assert np.mean([episode.total_reward for episode in episodes]) > 0.93
    assert np.mean([episode.terminated for episode in episodes]) > 0.97


def test_minibatches_that_do_not_divide_a_rollout_are_refused() -> None:
    settings = ExpertSettings(num_envs=10, num_steps=3, minibatches=4)
    with pytest.raises(
        ValueError, match=r"expert\.minibatches: found 4, expected a divisor of num_envs \* num_steps = 30"
    ):
        train_ppo(make_simulator(ENV), draw_levels(ENV, "train", 16, seed=0), settings, seed=0)
