"""The Gymnasium face keeps Gymnasium's conventions of vector environments."""

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import DictInfoToList, RecordEpisodeStatistics

from lamflow.envs.gymnasium_face import GymnasiumVectorEnv
from lamflow.envs.levels import draw_levels
from lamflow.envs.registry import make_vector_environment

NUM_ENVS = 32
EASY = "xland-doorkey-5x5"


def make(name: str = EASY, num_envs: int = NUM_ENVS, **options: str) -> GymnasiumVectorEnv:
    levels = draw_levels(name, "train", 64, seed=0)
    return GymnasiumVectorEnv(make_vector_environment(name, num_envs), levels, **options)


def test_observations_and_actions_belong_to_the_spaces() -> None:
    for name in (EASY, "xland-r1-9x9-full"):
        envs = make(name, 3)
        observation, infos = envs.reset(seed=0)
        assert observation in envs.observation_space
        assert infos["level_id"].shape == (3,)
        envs.action_space.seed(0)
        actions = envs.action_space.sample()
        assert actions in envs.action_space
        observation, rewards, terminations, truncations, _ = envs.step(actions)
        assert observation in envs.observation_space
        assert rewards.shape == terminations.shape == truncations.shape == (3,)
        envs.close()


def test_task_stands_in_the_observation_only_where_it_varies() -> None:
    assert set(make().single_observation_space.spaces) == {"frame", "proprioception"}
    assert set(make("xland-r1-9x9-full", 3).single_observation_space.spaces) == {"frame", "proprioception", "task"}


def test_reset_is_seeded_and_takes_levels() -> None:
    envs = make()
    first, infos = envs.reset(seed=7)
    second, _ = envs.reset(seed=7)
    np.testing.assert_array_equal(first["frame"], second["frame"])
    third, chosen = envs.reset(options={"level_ids": infos["level_id"][::-1].copy()})
    np.testing.assert_array_equal(third["frame"], first["frame"][::-1])
    np.testing.assert_array_equal(chosen["level_id"], infos["level_id"][::-1])
    with pytest.raises(ValueError, match="list of seeds"):
        envs.reset(seed=[1, 2])


def test_final_observations_are_given_as_same_step_autoreset_prescribes() -> None:
    envs = make()
    assert envs.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    envs.action_space.seed(1)
    envs.reset(seed=1)
    ended = 0
    for _ in range(251):
        observation, _, terminations, truncations, infos = envs.step(envs.action_space.sample())
        done = terminations | truncations
        assert ("final_obs" in infos) == bool(done.any())
        if not done.any():
            continue
        np.testing.assert_array_equal(infos["_final_obs"], done)
        for slot in range(NUM_ENVS):
            assert (infos["final_obs"][slot] is not None) == done[slot]
        for slot in np.flatnonzero(done):
            assert infos["final_obs"][slot] in envs.single_observation_space
            ended += 1
        assert observation in envs.observation_space
    assert ended >= NUM_ENVS, "each slot reached its step limit at least"


def test_gymnasium_wrappers_work_on_it() -> None:
    envs = RecordEpisodeStatistics(DictInfoToList(make()))
    envs.reset(seed=0)
    envs.action_space.seed(0)
    lengths = []
    for _ in range(251):
        _, _, _, _, infos = envs.step(envs.action_space.sample())
        if isinstance(infos, dict) and "episode" in infos:
            lengths.extend(infos["episode"]["l"][infos["_episode"]].tolist())
    assert isinstance(envs.unwrapped, gymnasium.vector.VectorEnv)


def test_rendering_gives_one_picture_a_slot() -> None:
    envs = make(render_mode="rgb_array")
    with pytest.raises(RuntimeError, match="render before reset"):
        envs.render()
    envs.reset(seed=0)
    pictures = envs.render()
    assert pictures is not None
    assert len(pictures) == NUM_ENVS
    assert pictures[0].dtype == np.uint8
    with pytest.raises(ValueError, match="render_mode"):
        make(render_mode="human")
