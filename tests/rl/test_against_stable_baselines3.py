"""PPO's parts against Stable-Baselines3, on random data: advantages, reward normalisation, and the gradient of a whole update."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from torch import nn

from lamflow.policies.actions import DiscreteActions
from lamflow.rl.advantages import RewardNormaliser, generalised_advantages
from lamflow.rl.ppo_loss import Minibatch, ppo_loss

STEPS, ENVS, WIDTH, ACTIONS = 24, 6, 5, 4
DISCOUNT, LAMBDA = 0.93, 0.81


class Played(gymnasium.Env[np.ndarray, np.int64]):
    """An environment whose rewards and ends are given."""

    observation_space = spaces.Box(-10, 10, (WIDTH,), np.float32)
    action_space = spaces.Discrete(ACTIONS)

    def __init__(self, rewards: np.ndarray | None = None, ends: np.ndarray | None = None) -> None:
        self._outcomes = iter(()) if rewards is None or ends is None else iter(zip(rewards, ends, strict=True))

    def reset(self, **_: object) -> tuple[np.ndarray, dict[str, object]]:
        return np.zeros(WIDTH, np.float32), {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, object]]:
        reward, end = next(self._outcomes)
        return np.zeros(WIDTH, np.float32), float(reward), bool(end), False, {}


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def filled_buffer(rng: np.random.Generator) -> tuple[RolloutBuffer, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """SB3's rollout, and rewards, values, ends [T, E] and last values [E] in it."""
    rewards, values = rng.normal(size=(2, STEPS, ENVS)).astype(np.float32)
    ends, last_values = rng.random((STEPS, ENVS)) < 0.2, rng.normal(size=ENVS).astype(np.float32)
    buffer = RolloutBuffer(STEPS, Played.observation_space, Played.action_space, "cpu", LAMBDA, DISCOUNT, n_envs=ENVS)
    starts = np.vstack([np.ones((1, ENVS)), ends[:-1]])
    for step in range(STEPS):
        buffer.add(
            rng.normal(size=(ENVS, WIDTH)).astype(np.float32),
            rng.integers(ACTIONS, size=(ENVS, 1)),
            rewards[step],
            starts[step],
            torch.from_numpy(values[step]),
            torch.from_numpy(rng.normal(-1.4, 0.2, size=ENVS).astype(np.float32)),
        )
    buffer.compute_returns_and_advantage(torch.from_numpy(last_values), ends[-1])
    return buffer, rewards, values, ends, last_values


def test_advantages_are_those_of_stable_baselines3(rng: np.random.Generator) -> None:
    buffer, *parts = filled_buffer(rng)
    rewards, values, ends, last_values = map(torch.from_numpy, parts)
    found = generalised_advantages(rewards, values, last_values, ends, discount=DISCOUNT, gae_lambda=LAMBDA)
    np.testing.assert_allclose(found, buffer.advantages, atol=1e-5)


def test_an_episode_cut_by_the_limit_is_bootstrapped_as_in_stable_baselines3(rng: np.random.Generator) -> None:
    """SB3 adds the discounted value of the last observation to the reward of the step that the limit cut."""
    _, *parts = filled_buffer(rng)
    rewards, values, ends, last_values = map(torch.from_numpy, parts)
    cut_values = torch.where(ends, torch.randn(STEPS, ENVS), 0.0)
    weights = {"discount": DISCOUNT, "gae_lambda": LAMBDA}
    found = generalised_advantages(rewards, values, last_values, ends, cut_values_TE=cut_values, **weights)
    theirs = generalised_advantages(rewards + DISCOUNT * cut_values, values, last_values, ends, **weights)
    torch.testing.assert_close(found, theirs)


def test_normalised_rewards_are_those_of_stable_baselines3(rng: np.random.Generator) -> None:
    rewards = rng.normal(0.3, 2, size=(200, ENVS)).astype(np.float32)
    ends = rng.random((200, ENVS)) < 0.1
    games = DummyVecEnv([lambda env=env: Played(rewards[:, env], ends[:, env]) for env in range(ENVS)])
    theirs = VecNormalize(games, norm_obs=False, gamma=DISCOUNT, clip_reward=10.0)
    theirs.reset()
    ours = RewardNormaliser(ENVS, DISCOUNT)
    for step in range(200):
        _, expected, *_ = theirs.step(np.zeros(ENVS, np.int64))
        np.testing.assert_allclose(ours(rewards[step], ends[step]), expected, rtol=1e-4, atol=1e-6)


def test_an_update_moves_the_weights_as_in_stable_baselines3(rng: np.random.Generator) -> None:
    """One step of gradient descent over a whole rollout by SB3's own ``train``, and the gradient of our loss without value clipping,
    which SB3 does otherwise than Procgen's recipe."""
    torch.manual_seed(0)
    buffer, *_ = filled_buffer(rng)
    model = PPO(
        "MlpPolicy",
        DummyVecEnv([Played] * ENVS),
        learning_rate=1.0,
        n_steps=STEPS,
        batch_size=STEPS * ENVS,
        n_epochs=1,
        gamma=DISCOUNT,
        gae_lambda=LAMBDA,
        clip_range=0.2,
        ent_coef=0.03,
        vf_coef=0.7,
        max_grad_norm=1e9,
        policy_kwargs={"optimizer_class": torch.optim.SGD, "optimizer_kwargs": {}},
    )
    model.set_logger(configure(None, []))
    model.rollout_buffer = buffer
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    data = next(buffer.get(STEPS * ENVS))
    distribution = model.policy.get_distribution(data.observations).distribution
    values = model.policy.predict_values(data.observations)[:, 0]
    loss = ppo_loss(
        DiscreteActions(ACTIONS),
        distribution.logits,
        values,
        Minibatch((), data.actions.long()[:, 0], data.old_log_prob, data.old_values, data.advantages),
        clip_range=0.2,
        value_coefficient=2 * 0.7,  # ours is half of the squared error
        entropy_coefficient=0.03,
        clip_values=False,
    )
    names, parameters = zip(*model.policy.named_parameters(), strict=True)
    gradients = dict(zip(names, torch.autograd.grad(loss.total, parameters), strict=True))
    model.train()
    for name, value in model.policy.named_parameters():
        assert isinstance(value, nn.Parameter)
        torch.testing.assert_close(before[name] - value, gradients[name], rtol=1e-4, atol=1e-6)
