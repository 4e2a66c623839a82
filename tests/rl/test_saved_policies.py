"""Policies that Stable-Baselines3 has saved act here as they do there, and what does not fit is refused."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from lamflow.data.store import EpisodeArrays, EpisodeStore
from lamflow.envs import gymnasium_saved_policy
from lamflow.envs.gymnasium_parts import parts_of, read_parts, shown, shown_space
from lamflow.envs.gymnasium_settings import GymnasiumSettings
from lamflow.envs.interface import Observation
from lamflow.envs.spec import EnvironmentSpec
from lamflow.rl.disturbance import Disturbance
from lamflow.rl.saved_policies import SavedPolicyActor
from lamflow.stages.collect_episodes import collect_episodes
from lamflow.stages.train_expert import train_expert

stable_baselines3 = pytest.importorskip("stable_baselines3", reason="the extra `rl` is not installed")
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize  # noqa: E402 - where it is there

PACKAGE = """
import gymnasium
import numpy as np
from gymnasium import spaces

class Mast(gymnasium.Env):
    '''A bright column to the left or right, which the pose does not tell of; ends after 6 steps.'''

    action_space = spaces.Discrete(3)
    observation_space = spaces.Dict(
        {"picture": spaces.Box(0, 255, (40, 48, 3), np.uint8), "pose": spaces.Box(-9, 9, (2,), np.float64)}
    )

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.column, self.steps = int(self.np_random.integers(0, 48)), 0
        return self.observe(), {}

    def observe(self):
        picture = np.zeros((40, 48, 3), np.uint8)
        picture[:, self.column, 1] = 255
        picture[self.steps * 5 : self.steps * 5 + 5, :, 2] = 120
        return {"picture": picture, "pose": np.array([self.steps, 0.5 * self.steps])}

    def step(self, action):
        self.column = (self.column + 7 * (int(action) - 1)) % 48
        self.steps += 1
        return self.observe(), float(action == self.column % 3), self.steps == 6, False, {}

gymnasium.register("Mast-v0", Mast, max_episode_steps=9)
"""
COLLECTION = {"train_episodes": 6, "reference_episodes": 2, "epsilon": 0.0}
Saved = Callable[..., dict[str, Any]]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.joinpath("their_mast.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("their_mast", None)


def describe(environment_id: str, demonstrator: dict[str, Any], **settings: Any) -> EnvironmentSpec:
    demonstrator = {"kind": "stable_baselines3", **demonstrator}
    return GymnasiumSettings.model_validate(
        {"id": environment_id, "demonstrator": demonstrator, **settings}
    ).build(name="mine")  # fmt: skip


def trained(folder: Path, environment_id: str, algorithm: str, policy: str = "MlpPolicy", **settings: Any) -> Any:
    """A policy after a first update, which tells observations apart; the settings of the demonstrator of it are saved in ``folder``."""
    venv: Any = DummyVecEnv([lambda: gymnasium.make(environment_id)])
    normalised = settings.pop("normalised", False)
    if normalised:
        venv = VecNormalize(venv)
    library = __import__("sb3_contrib") if algorithm == "RecurrentPPO" else stable_baselines3
    model = getattr(library, algorithm)(policy, venv, seed=0, device="cpu", verbose=1, **settings)
    model.learn(64)
    model.save(folder / "expert.zip")
    if normalised:
        venv.save(folder / "normaliser.pkl")
        venv.training = False
    return model


def demonstrator(folder: Path, algorithm: str, **more: Any) -> dict[str, Any]:
    return {"algorithm": algorithm, "path": str(folder / "expert.zip"), **more}


def collected(spec: EnvironmentSpec, folder: Path, name: str = "train", **changes: Any) -> EpisodeArrays:
    """Its episodes, played by what ``train_expert`` took over."""
    train_expert(environment=spec.facts(), settings={}, seed=0, output=folder / "expert.safetensors")
    collect_episodes(
        environment=spec.facts(),
        settings={**COLLECTION, **changes},
        split="train",
        seed=0,
        expert=folder / "expert.safetensors",
        output=folder / f"{name}.zarr",
    )
    return EpisodeStore.open(folder / f"{name}.zarr").load()


def theirs(model: Any, level: int) -> list[Any]:
    """The actions that Stable-Baselines3 takes in its own environment, whatever wrappers it has put around it."""
    venv, state, start, actions = model.get_env(), None, np.ones(1, bool), []
    venv.seed(level)
    observation = venv.reset()
    while not actions or not start[0]:
        action, state = model.predict(observation, state, start, deterministic=True)
        actions.append(action[0])
        observation, _, start, _ = venv.step(action)
    return actions


def assert_acts_alike(arrays: EpisodeArrays, model: Any, most: int = 10**9) -> None:
    """The first ``most`` actions of each episode are those that ``model`` takes there."""
    bounds = [*arrays.episode_starts.tolist(), arrays.num_rows]
    found = arrays.actions
    for level, start, end in zip(arrays.level_seeds.tolist(), bounds, bounds[1:], strict=False):
        expected = theirs(model, level)[:most]
        np.testing.assert_allclose(found[start : min(end - 1, start + most)], expected, atol=1e-4)


@pytest.mark.slow
@pytest.mark.usefixtures("package")
def test_a_policy_of_pictures_acts_as_in_the_environment_it_was_trained_in(tmp_path: Path) -> None:
    """Stable-Baselines3 puts the channels first, here they are last."""
    small = {"features_extractor_kwargs": {"cnn_output_dim": 8}}
    model = trained(
        tmp_path,
        "their_mast:Mast-v0",
        "PPO",
        "MultiInputPolicy",
        n_steps=64,
        n_epochs=8,
        learning_rate=3e-3,
        policy_kwargs=small,
    )
    assert model.observation_space["picture"].shape == (3, 40, 48)
    spec = describe("their_mast:Mast-v0", demonstrator(tmp_path, "PPO"))
    arrays = collected(spec, tmp_path)
    assert_acts_alike(arrays, model)
    assert len(np.unique(arrays.actions[arrays.acted])) > 1, "a policy that always acts alike would show nothing"
    drawn = describe("their_mast:Mast-v0", demonstrator(tmp_path, "PPO", deterministic=False))
    first, again = (collected(drawn, tmp_path, name).actions for name in ("first", "again"))
    np.testing.assert_array_equal(first, again)
    assert (first != arrays.actions).any()


@pytest.mark.slow
def test_a_policy_of_normalised_vectors_and_continuous_actions_acts_alike(tmp_path: Path) -> None:
    model = trained(tmp_path, "Pendulum-v1", "SAC", learning_starts=32, normalised=True, buffer_size=100)
    normaliser = str(tmp_path / "normaliser.pkl")
    spec = describe("Pendulum-v1", demonstrator(tmp_path, "SAC", vecnormalize=normaliser), max_steps=10)
    arrays = collected(spec, tmp_path, train_episodes=2)
    assert_acts_alike(arrays, model, most=10)
    blind = describe("Pendulum-v1", demonstrator(tmp_path, "SAC"), max_steps=10)
    with pytest.raises(AssertionError):
        assert_acts_alike(collected(blind, tmp_path, "blind", train_episodes=2), model, most=10)


@pytest.mark.slow
def test_a_policy_of_categories_acts_alike_and_chance_acts_as_often_as_is_said(tmp_path: Path) -> None:
    model = trained(tmp_path, "FrozenLake-v1", "DQN", learning_starts=16, exploration_fraction=0.5, buffer_size=100)
    spec = describe("FrozenLake-v1", demonstrator(tmp_path, "DQN"))
    assert_acts_alike(collected(spec, tmp_path), model)
    with pytest.raises(AssertionError):
        assert_acts_alike(collected(spec, tmp_path, "noisy", epsilon=0.9), model)


@pytest.mark.slow
def test_a_recurrent_policy_keeps_its_state_within_an_episode_and_no_longer(tmp_path: Path) -> None:
    pytest.importorskip("sb3_contrib", reason="sb3-contrib is not installed")
    model = trained(
        tmp_path, "CartPole-v1", "RecurrentPPO", "MlpLstmPolicy", n_steps=64, learning_rate=0.01, n_epochs=8
    )
    with torch.no_grad():  # so little training hardly uses the memory
        for parameter in (*model.policy.lstm_actor.parameters(), *model.policy.action_net.parameters()):
            parameter.mul_(20)
    model.save(tmp_path / "expert.zip")
    spec = describe("CartPole-v1", demonstrator(tmp_path, "RecurrentPPO"))
    arrays = collected(spec, tmp_path, train_episodes=12)
    assert len(set(np.diff([*arrays.episode_starts, arrays.num_rows]))) > 1, "slots end and begin at different times"
    assert_acts_alike(arrays, model)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(0, 255, (40, 48, 3), np.uint8),
        spaces.Box(0, 255, (40, 48, 1), np.uint8),
        spaces.Box(0, 255, (40, 48), np.uint8),
        spaces.Box(-1, 1, (4,), np.float64),
        spaces.Box(-1, 1, (), np.float32),
        spaces.Box(-5, 5, (4,), np.int64),
        spaces.Discrete(7),
        spaces.MultiBinary(5),
        spaces.MultiDiscrete([3, 4, 5]),
        spaces.MultiDiscrete(np.full((5, 5, 2), 4)),
        spaces.Dict({"b": spaces.Discrete(7), "a": spaces.Box(0, 255, (40, 48, 1), np.uint8)}),
    ],
    ids=str,
)
def test_what_was_read_of_an_observation_is_shown_as_it_was(space: Any) -> None:
    space.seed(0)
    seen = [space.sample() for _ in range(3)]
    read = [read_parts(parts_of(space, None), each) for each in seen]
    back = shown(shown_space(space, None), {name: np.stack([each[name] for each in read]) for name in read[0]})
    for index, each in enumerate(seen):
        pairs = [(back[name], each[name]) for name in each] if isinstance(each, dict) else [(back, each)]
        for batch, single in pairs:
            assert batch.dtype == np.asarray(single).dtype and batch.shape[1:] == np.shape(single)
            np.testing.assert_allclose(batch[index], single, rtol=1e-6)


def test_resized_pictures_have_a_space_of_their_size() -> None:
    space = spaces.Dict({"gray": spaces.Box(0, 255, (40, 48), np.uint8), "pose": spaces.Box(-1, 1, (2,))})
    assert shown_space(space, 32)["gray"] == spaces.Box(0, 255, (32, 32), np.uint8)
    assert shown_space(space, 32)["pose"] == space["pose"]


@pytest.fixture(scope="module")
def cart_pole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cart_pole")
    trained(folder, "CartPole-v1", "PPO", n_steps=64, n_epochs=1)
    folder.joinpath("damaged.zip").write_bytes(folder.joinpath("expert.zip").read_bytes()[:500])
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment_id", "changes", "message"),
    [
        (
            "Pendulum-v1",
            {},
            r"demonstrator\.path: .* takes the observations Box\(.*\(4,\), float32\) and the actions Discrete\(2\); found an environment "
            r"with Box\(.*\(3,\), float32\) and Box\(-2\.0, 2\.0, \(1,\), float32\)",
        ),
        ("CartPole-v1", {"algorithm": "DQN"}, r"expert\.zip cannot be loaded as DQN: .*see demonstrator\.algorithm"),
        ("CartPole-v1", {"path": "damaged.zip"}, r"damaged\.zip cannot be loaded as PPO"),
        ("CartPole-v1", {"path": "gone.zip"}, r"demonstrator\.path: found no file gone\.zip in the folder /"),
        (
            "CartPole-v1",
            {"vecnormalize": "expert.zip"},
            r"demonstrator\.vecnormalize: .*expected what VecNormalize\.save",
        ),
    ],
    ids=["spaces", "algorithm", "damaged", "missing", "normaliser"],
)
def test_a_policy_that_does_not_fit_is_refused_when_the_run_is_planned(
    environment_id: str, changes: dict[str, str], message: str, cart_pole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(cart_pole)
    with pytest.raises(ValueError, match=message):
        describe(environment_id, {"algorithm": "PPO", "path": "expert.zip", **changes})


@pytest.mark.slow
def test_another_file_is_another_demonstrator(cart_pole: Path, tmp_path: Path) -> None:
    shutil.copytree(cart_pole, tmp_path, dirs_exist_ok=True)
    planned = describe("CartPole-v1", demonstrator(tmp_path, "PPO"))
    trained(tmp_path, "CartPole-v1", "PPO", n_steps=64, n_epochs=2)
    assert describe("CartPole-v1", demonstrator(tmp_path, "PPO")).own["saved"] != planned.own["saved"]
    with pytest.raises(ValueError, match=r"demonstrator\.path: .* has changed since the run was planned"):
        train_expert(environment=planned.facts(), settings={}, seed=0, output=tmp_path / "expert.safetensors")
    assert not tmp_path.joinpath("expert.safetensors").exists()


@pytest.mark.parametrize("algorithm", ["PPO", "RecurrentPPO"])
def test_where_the_extra_is_missing_its_command_is_told(algorithm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gymnasium_saved_policy, "find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=rf"{algorithm} needs stable-baselines3.*\n.* -m pip install stable-baselines3=="
    ):
        describe("no-such-environment", {"algorithm": algorithm, "path": "expert.zip"})


class Summing:
    """A recurrent policy in the form of Stable-Baselines3's, whose state and action are the sum of what it saw in an episode."""

    def act(self, seen: Any, state: Any, starts: np.ndarray) -> Any:
        before = np.zeros((1, len(seen), 1)) if state is None else state[0] * ~starts[None, :, None]
        total = before + seen[None, :, :1]
        return total[0, :, 0].round().astype(np.int64), (total,)


def test_slots_that_are_left_out_take_their_states_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = GymnasiumSettings.model_validate({"id": "CartPole-v1"}).build(name="mine")
    policy: Any = Summing()
    actor = SavedPolicyActor(spec, policy, Disturbance(spec.action, 0.0, 0.0, np.random.default_rng(0)), 3)

    def acted(*values: int) -> list[int]:
        state = np.repeat(np.array(values, np.float32)[:, None], 4, axis=1)
        return actor.act(np.arange(len(values)), Observation({"state": state})).tolist()

    assert acted(1, 2, 3) == [1, 2, 3]
    assert acted(1, 1, 1) == [2, 3, 4]
    actor.keep(np.array([2, 0]))
    assert acted(1, 1) == [5, 3]
    actor.begin(np.array([1]), np.array([7]), Observation({}))
    assert acted(1, 1) == [6, 1]
