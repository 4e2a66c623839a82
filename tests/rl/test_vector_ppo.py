"""PPO over vectors: its network and moments by their formulas and as Stable-Baselines3 has them, and trainings that learn and resume."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from interruptions import interrupt_third_rollout
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from lamflow.envs.gymnasium_settings import GymnasiumSettings
from lamflow.envs.interface import Observation
from lamflow.envs.levels import draw_levels
from lamflow.envs.spec import EnvironmentSpec
from lamflow.policies.actions import BoxActions, DiscreteActions
from lamflow.policies.contexts import first_inputs
from lamflow.rl import vector_experts
from lamflow.rl.demonstrations import demonstrator_of, returns_of
from lamflow.rl.demonstrator_settings import CollectionSettings, VectorExpertSettings
from lamflow.rl.ppo import PpoLearner
from lamflow.rl.vector_actor_critic import RunningMoments, VectorActorCritic
from lamflow.rl.vector_experts import (
    load_vector_expert,
    play_expert,
    save_vector_expert,
    train_vector_expert,
)
from lamflow.training.metrics import MetricsLog

PACKAGE = """
import gymnasium
import numpy as np
from gymnasium import spaces

class Aim(gymnasium.Env):
    '''Rewards an action that is near to what is shown, in three steps; what is shown is far from 0 and large.'''

    observation_space = spaces.Dict({"goal": spaces.Box(-np.inf, np.inf, (2,)), "hand": spaces.Discrete(2)})
    action_space = spaces.Box(np.array([-1, 0], np.float32), np.array([1, 4], np.float32))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.observe(), {}

    def observe(self):
        self.goal, self.hand = self.np_random.uniform(-0.8, 0.8, 2), int(self.np_random.integers(2))
        return {"goal": (1000 + 50 * self.goal).astype(np.float32), "hand": self.hand}

    def step(self, action):
        self.steps += 1
        aim = np.array([action[0], (action[1] - 2) / 2]) * (1 if self.hand else -1)
        reward = -float(((aim - self.goal) ** 2).sum())
        return self.observe(), reward, self.steps == 3, False, {}

gymnasium.register("Aim-v0", Aim, max_episode_steps=9)
"""
SMALL = VectorExpertSettings(
    num_envs=4,
    num_steps=32,
    total_steps=512,
    epochs=2,
    minibatches=2,
    validate_every=2,
    validation_episodes=4,
    checkpoint_every=1,
)


@pytest.fixture
def aim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EnvironmentSpec:
    """Continuous actions, and an observation of two parts."""
    tmp_path.joinpath("aiming.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("aiming", None)
    return GymnasiumSettings.model_validate({"id": "aiming:Aim-v0", "main": "goal"}).build(name="aim")


def cart() -> EnvironmentSpec:
    return GymnasiumSettings.model_validate({"id": "CartPole-v1"}).build(name="cart")


def inputs_of(**parts: Any) -> Any:
    return first_inputs(Observation({name: np.array(part) for name, part in parts.items()}), 1, torch.device("cpu"))


def test_moments_are_those_of_all_that_was_seen_and_stable_baselines3s() -> None:
    generator = np.random.default_rng(0)
    moments, theirs, seen = RunningMoments(3), RunningMeanStd(shape=(3,)), []
    for size in (4, 4, 1, 7):
        batch = generator.normal([0, 5, 1000], [1, 2, 0.1], (size, 3))
        moments.merge(torch.from_numpy(batch))
        theirs.update(batch)
        seen.append(batch)
    np.testing.assert_allclose(moments.mean, theirs.mean, rtol=1e-12)
    np.testing.assert_allclose(moments.variance, theirs.var, rtol=1e-9)
    np.testing.assert_allclose(moments.mean, np.concatenate(seen).mean(0), rtol=1e-3)


def test_observations_are_normalised_as_stable_baselines3_does() -> None:
    generator = np.random.default_rng(0)
    spec = cart()
    network, theirs = (
        VectorActorCritic(spec=spec, hidden_width=8),
        VecNormalize(DummyVecEnv([lambda: gymnasium.make("CartPole-v1")])),
    )
    for _ in range(20):
        batch = generator.normal(3, 2, (5, 4)).astype(np.float32)
        network.observe(inputs_of(state=batch))
        theirs.obs_rms.update(batch)  # type: ignore[union-attr]
    batch[0] = 1e6
    (found,) = network.encode(inputs_of(state=batch))
    np.testing.assert_allclose(found, theirs.normalize_obs(batch), rtol=1e-5, atol=1e-6)  # type: ignore[arg-type]
    assert found.max() == 10


def test_the_network_sees_all_parts_and_begins_as_published(aim: EnvironmentSpec) -> None:
    torch.manual_seed(0)
    network = VectorActorCritic(spec=aim, hidden_width=64)
    assert network.space == BoxActions((-1.0, 0.0), (1.0, 4.0))
    (features,) = network.encode(inputs_of(goal=np.float32([[1, 2], [3, 4]]), hand=np.uint8([[0], [1]])))
    assert features[:, 2:].tolist() == [[1, 0], [0, 1]], "one-hot categories behind the numbers"
    distributions, values = network.evaluate((features,))
    means, log_deviations = distributions.chunk(2, dim=-1)
    assert log_deviations.abs().max() == 0 and means.abs().max() < 0.05, "deviation 1 around the middle"
    assert values.shape == (2,) and values.abs().max() > 0.01
    first = network.policy[0].weight
    torch.testing.assert_close(first.T @ first, 2 * torch.eye(4), atol=1e-4, rtol=0)
    discrete = VectorActorCritic(spec=cart(), hidden_width=8)
    assert discrete.space == DiscreteActions(2) and discrete.spread.numel() == 0
    distributions, _ = discrete.evaluate(discrete.encode(inputs_of(state=np.zeros((3, 4), np.float32))))
    torch.testing.assert_close(distributions.exp().sum(1), torch.ones(3))


def test_only_rollouts_move_the_moments_of_the_numbers(aim: EnvironmentSpec) -> None:
    network = VectorActorCritic(spec=aim, hidden_width=8)
    inputs = inputs_of(goal=np.float32([[1, 2], [3, 4]]), hand=np.uint8([[0], [1]]))
    network.encode(inputs)
    list(play_expert(network, 0.0, draw_levels(aim, "test", 2, 0), 0))
    assert all(moments.count < 1 for moments in network.moments.values())
    learner = PpoLearner(network, SMALL, 0)
    learner.play_rollout()
    learner.close()
    assert all(round(moments.count.item()) == 128 for moments in network.moments.values())


def weights_after(
    spec: EnvironmentSpec, state_dir: Path | None, metrics: MetricsLog | None = None
) -> dict[str, torch.Tensor]:
    network = train_vector_expert(
        spec=spec, settings=SMALL, seed=3, metrics=metrics or MetricsLog(), state_dir=state_dir, identity="test"
    )
    return network.state_dict()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["aim", "cart"])
def test_trainings_repeat_and_an_interrupted_and_resumed_one_equals_a_straight_one(
    name: str, aim: EnvironmentSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = aim if name == "aim" else cart()
    straight_log, resumed_log = MetricsLog(), MetricsLog()
    straight, again = weights_after(spec, None, straight_log), weights_after(spec, None)
    rollouts = interrupt_third_rollout(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        weights_after(spec, tmp_path / "state")
    resumed = weights_after(spec, tmp_path / "state", resumed_log)
    assert len(rollouts) == 5, "three before the interruption, of which one was lost, and two after it"
    for key, tensor in straight.items():
        assert torch.equal(tensor, again[key]) and torch.equal(tensor, resumed[key]), key
    assert repr(straight_log.rows) == repr(resumed_log.rows)


@pytest.mark.slow
def test_ppo_learns_to_aim_and_its_expert_demonstrates_as_it_was_trained(aim: EnvironmentSpec, tmp_path: Path) -> None:
    demonstrator, file = demonstrator_of(aim), tmp_path / "expert.safetensors"
    settings = VectorExpertSettings(
        num_envs=16, num_steps=32, total_steps=5120, minibatches=4, learning_rate=3e-3, validate_every=10
    )
    assert demonstrator.settings_for(aim) is VectorExpertSettings
    demonstrator.make_expert(aim, settings, 0, MetricsLog(), file, None, "", None)
    counts = {"train_episodes": 4, "reference_episodes": 40, "epsilon": 0.0}
    collection = demonstrator.collect(aim, CollectionSettings.model_validate(counts), "train", 0, file)
    assert np.mean(collection.expert_returns) > 0.5 * np.mean(collection.random_returns), "costs, which are negative"
    episodes = list(collection.episodes)
    assert all(episode.actions.dtype == np.float32 and episode.actions.shape == (3, 2) for episode in episodes)
    network = load_vector_expert(file, aim)
    levels = draw_levels(aim, "test", 40, 9)
    forgot = load_vector_expert(file, aim)
    forgot.moments["of_goal"].load_state_dict(RunningMoments(2).state_dict())
    known, unknown = (np.mean(returns_of(play_expert(player, 0.0, levels, 0))) for player in (network, forgot))
    assert unknown < 2 * known < 0, "without its moments it is lost"


def test_the_weights_of_the_best_validation_are_kept(aim: EnvironmentSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, seen = SMALL.model_copy(update={"validate_every": 1}), []
    returns = iter([1.0, 5.0, 2.0, float("nan")])

    def validated(network: VectorActorCritic, *_: Any) -> list[SimpleNamespace]:
        seen.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
        return [SimpleNamespace(total_reward=next(returns))]

    monkeypatch.setattr(vector_experts, "play_expert", validated)
    kept = train_vector_expert(spec=aim, settings=settings, seed=0, metrics=MetricsLog(), state_dir=None, identity="")
    assert [all(torch.equal(kept.state_dict()[name], each[name]) for name in each) for each in seen] == [0, 1, 0, 0]


def test_experts_take_the_mean_with_noise_where_it_is_asked_for(aim: EnvironmentSpec) -> None:
    torch.manual_seed(0)
    network, levels = VectorActorCritic(spec=aim, hidden_width=8), draw_levels(aim, "test", 20, 0)
    first, other_seed, noisy, again = (
        np.concatenate([episode.actions for episode in play_expert(network, 0.0, levels, seed, noise=noise)])
        for seed, noise in ((0, 0.0), (1, 0.0), (0, 0.2), (0, 0.2))
    )
    np.testing.assert_array_equal(first, other_seed)
    np.testing.assert_array_equal(noisy, again)
    assert (noisy - first)[:, 0].std() == pytest.approx(0.2, rel=0.3)
    assert (noisy - first)[:, 1].std() == pytest.approx(0.4, rel=0.3), "half of its width is 2"
    discrete = VectorActorCritic(spec=cart(), hidden_width=8)
    one, two = (next(play_expert(discrete, 0.0, levels[:1], seed)).actions.tolist() for seed in (0, 1))
    assert one != two, "discrete actions are drawn"


def test_noise_is_for_continuous_actions(tmp_path: Path) -> None:
    settings = CollectionSettings(noise=0.1)
    with pytest.raises(
        ValueError, match=r"collection\.noise: found 0\.1 for cart, expected 0: it is for continuous actions"
    ):
        demonstrator_of(cart()).collect(cart(), settings, "train", 0, tmp_path / "none")


def test_a_users_policy_is_disturbed_within_the_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.joinpath("still.py").write_text("def make():\n    return lambda observation: [2.0]\n")
    monkeypatch.syspath_prepend(tmp_path)
    raw = {"id": "Pendulum-v1", "max_steps": 20, "demonstrator": {"kind": "policy", "path": "still:make"}}
    spec = GymnasiumSettings.model_validate(raw).build(name="swing")
    counts = {"train_episodes": 2, "reference_episodes": 2, "epsilon": 0.0, "noise": 0.25}
    collection = demonstrator_of(spec).collect(spec, CollectionSettings.model_validate(counts), "train", 0, tmp_path)
    actions = np.concatenate([episode.actions for episode in collection.episodes])
    assert collection.attributes["noise"] == 0.25
    assert 0.2 < (actions == 2).mean() < 0.8, "noise upwards is clipped"
    assert (2 - actions[actions < 2]).mean() == pytest.approx(0.5 * np.sqrt(2 / np.pi), rel=0.5)


def test_an_expert_of_another_environment_is_refused(tmp_path: Path) -> None:
    spec, file = cart(), tmp_path / "expert.safetensors"
    save_vector_expert(file, VectorActorCritic(spec=spec, hidden_width=64), VectorExpertSettings(), 0)
    other = GymnasiumSettings.model_validate({"id": "CartPole-v1"}).build(name="other")
    with pytest.raises(ValueError, match="expected the expert of other over vectors; run train_expert again"):
        load_vector_expert(file, other)
