"""Experts of XLand: the network in torch is that in JAX, training learns in seconds, and what is interrupted goes on."""

from pathlib import Path

import jax
import numpy as np
import pytest
import torch

from lamflow.envs.levels import draw_levels
from lamflow.envs.presets import preset
from lamflow.envs.rollouts import rollout
from lamflow.envs.xland import make_simulator
from lamflow.envs.xland_vector import XlandVectorEnvironment
from lamflow.policies.contexts import ContextMemory
from lamflow.rl.actor_critic import GridActorCritic
from lamflow.rl.demonstrator_settings import ExpertSettings
from lamflow.rl.experience import CurvePoint, reached
from lamflow.rl.ppo import PpoLearner
from lamflow.rl.xland_actor_critic import features, policy_and_value, sample_action
from lamflow.rl.xland_experts import expert_params, train_xland_expert
from lamflow.training.metrics import MetricsLog

ENV = "xland-doorkey-5x5"
SPEC = preset(ENV)
CPU = torch.device("cpu")


@pytest.mark.slow
def test_the_network_in_torch_is_the_one_in_jax() -> None:
    torch.manual_seed(0)
    network = GridActorCritic(spec=SPEC, hidden_width=16)
    simulator = make_simulator(preset(ENV))
    levels = draw_levels(preset(ENV), "train", 32, seed=0)
    timesteps = simulator.reset_levels(levels)
    for _ in range(5):
        timesteps = simulator.step(timesteps, jax.random.randint(jax.random.PRNGKey(1), (32,), 0, 6))
    environment = XlandVectorEnvironment(simulator, 32)
    environment.reset(levels)
    seen = {name: torch.tensor(np.asarray(part)) for name, part in simulator.observe(timesteps).items()}
    with torch.no_grad():
        log_probs, values = network.evaluate((network.features(seen["frames"], seen["proprioception"]),))
    logits, expected_values = policy_and_value(expert_params(network), features(timesteps))
    np.testing.assert_allclose(log_probs, jax.nn.log_softmax(logits), atol=1e-5)
    np.testing.assert_allclose(values, expected_values, atol=1e-5)


def train_expert(settings: ExpertSettings, state_dir: Path | None = None) -> tuple[GridActorCritic, MetricsLog]:
    metrics = MetricsLog()
    network = train_xland_expert(
        spec=SPEC, settings=settings, seed=0, metrics=metrics, state_dir=state_dir, identity="test"
    )
    return network, metrics


@pytest.mark.whole
def test_ppo_learns_doorkey_on_levels_that_it_never_saw() -> None:
    settings = ExpertSettings(target_return=0.95)
    network, metrics = train_expert(settings)
    last_step = metrics.rows[-1][0]
    assert last_step < settings.num_rollouts * settings.epochs * settings.minibatches, "it stopped early"
    simulator = make_simulator(preset(ENV))
    levels = draw_levels(preset(ENV), "test", 256, seed=0)
    episodes = list(rollout(simulator, sample_action, expert_params(network), levels, seed=0))
    assert np.mean([episode.total_reward for episode in episodes]) > 0.93
    assert np.mean([episode.terminated for episode in episodes]) > 0.97


def test_training_stops_after_enough_good_rollouts_in_a_row() -> None:
    curve = [CurvePoint(step, 1, value) for step, value in enumerate((1.0, 0.2, 1.0, 1.0))]
    assert reached(curve, 0.9, 2) and not reached(curve, 0.9, 3)
    assert not reached([CurvePoint(0, 0, float("nan"))], 0.9, 1) and not reached([], 0.9, 1)


@pytest.mark.slow
def test_an_interrupted_and_resumed_training_equals_a_straight_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ExpertSettings(total_steps=6 * 64 * 8, num_envs=64, num_steps=8, checkpoint_every=1)
    straight, _ = train_expert(settings)
    play, rollouts = PpoLearner.play_rollout, []

    def interrupted_play(self: PpoLearner) -> None:
        rollouts.append(1)
        if len(rollouts) == 4:
            raise KeyboardInterrupt
        play(self)

    monkeypatch.setattr(PpoLearner, "play_rollout", interrupted_play)
    with pytest.raises(KeyboardInterrupt):
        train_expert(settings, tmp_path)
    resumed, _ = train_expert(settings, tmp_path)
    for name, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


@pytest.mark.slow
def test_a_saved_batch_of_environments_goes_on_as_it_would_have() -> None:
    simulator, levels = make_simulator(preset(ENV)), draw_levels(preset(ENV), "train", 64, seed=1)
    generator = np.random.default_rng(0)
    actions = generator.integers(0, 6, size=(300, 8))
    first, second = (XlandVectorEnvironment(simulator, 8, iter(levels[8:].tolist())) for _ in range(2))
    first.reset(levels[:8])
    for step in range(20):
        first.step(actions[step])
    saved = first.save()
    second._stream = iter(levels[16:].tolist())  # eight were drawn ahead
    second.restore(saved)
    for step in range(20, 40):
        one, two = first.step(actions[step]), second.step(actions[step])
        np.testing.assert_array_equal(one.observation.parts["frames"], two.observation.parts["frames"])
        np.testing.assert_array_equal(one.rewards, two.rewards)


@pytest.mark.slow
def test_a_context_holds_the_last_observations_of_its_episode() -> None:
    simulator, levels = make_simulator(preset(ENV)), draw_levels(preset(ENV), "train", 4, seed=1)
    environment = XlandVectorEnvironment(simulator, 4)
    first = environment.reset(levels)
    memory = ContextMemory(first, 3, CPU)
    assert memory.present.begun.tolist() == [[False, False, True]] * 4
    assert (memory.present.parts["frames"] == torch.from_numpy(first.parts["frames"])[:, None]).all()
    second = environment.step(np.array([0, 1, 2, 1])).observation
    foreseen = memory.after(second[np.array([2])], np.array([2]))
    memory.see(second, np.array([False, True, False, False]))
    assert torch.equal(foreseen.parts["frames"][0], memory.present.parts["frames"][2])
    assert memory.present.begun.tolist() == [[False, True, True], [False, False, True], *[[False, True, True]] * 2]
    assert torch.equal(
        memory.present.parts["frames"][0, 1:],
        torch.from_numpy(np.stack([first.parts["frames"][0], second.parts["frames"][0]])),
    )
    assert (memory.present.parts["frames"][1] == torch.from_numpy(second.parts["frames"][1])).all()
