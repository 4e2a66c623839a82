"""The Gymnasium face keeps Gymnasium's conventions of vector environments."""

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import DictInfoToList, RecordEpisodeStatistics

from lamflow.envs.gymnasium_face import GymnasiumVectorEnv, make_gymnasium
from lamflow.envs.levels import draw_levels
from lamflow.envs.presets import preset

NUM_ENVS = 32
EASY = "xland-doorkey-5x5"


def make(name: str = EASY, num_envs: int = NUM_ENVS, render_mode: str | None = None) -> GymnasiumVectorEnv:
    return make_gymnasium(preset(name), num_envs, num_levels=64, render_mode=render_mode)


@pytest.mark.slow
def test_episodes_take_levels_of_the_split_that_was_asked_for() -> None:
    envs = make_gymnasium(preset(EASY), NUM_ENVS, split="validation", num_levels=64)
    allowed = set(draw_levels(preset(EASY), "validation", 64, seed=0).tolist())
    _, infos = envs.reset(seed=0)
    first = infos["level_id"].copy()
    for _ in range(250):
        *_, infos = envs.step(np.zeros(NUM_ENVS, np.int64))
    assert set(first.tolist()) | set(infos["level_id"].tolist()) <= allowed
    assert (infos["level_id"] != first).any(), "the next episode has its own level"


def test_observations_and_actions_belong_to_the_spaces() -> None:
    envs = make()
    observation, infos = envs.reset(seed=0)
    assert observation in envs.observation_space
    assert infos["level_id"].shape == (NUM_ENVS,)
    envs.action_space.seed(0)
    actions = envs.action_space.sample()
    assert actions in envs.action_space
    observation, rewards, terminations, truncations, _ = envs.step(actions)
    assert observation in envs.observation_space
    assert rewards.shape == terminations.shape == truncations.shape == (NUM_ENVS,)
    envs.close()


def test_task_stands_in_the_observation_only_where_it_varies() -> None:
    assert set(make().single_observation_space.spaces) == {"frame", "proprioception"}
    envs = make("xland-r1-9x9-full", 3)
    assert set(envs.single_observation_space.spaces) == {"frame", "proprioception", "task"}
    observation, _ = envs.reset(seed=0)
    assert observation in envs.observation_space


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


def test_infos_have_the_form_that_gymnasium_gives_them() -> None:
    reference = gymnasium.vector.SyncVectorEnv(
        [lambda: gymnasium.make("CartPole-v1", max_episode_steps=2)] * 2, autoreset_mode=AutoresetMode.SAME_STEP
    )
    reference.reset(seed=0)
    reference.step(np.zeros(2, np.int64))
    *_, expected = reference.step(np.zeros(2, np.int64))
    envs = make()
    envs.reset(seed=0)
    for _ in range(250):
        *_, infos = envs.step(np.zeros(NUM_ENVS, np.int64))
    assert set(expected) <= set(infos)
    for name in expected:
        assert type(infos[name]) is type(expected[name])
    assert infos["final_obs"].dtype == expected["final_obs"].dtype == object
    assert infos["_final_obs"].dtype == expected["_final_obs"].dtype == bool


def test_gymnasium_wrappers_work_on_it() -> None:
    envs = DictInfoToList(RecordEpisodeStatistics(make()))
    envs.reset(seed=0)
    for _ in range(250):  # walking into a wall until the step limit
        _, _, terminations, truncations, infos = envs.step(np.zeros(NUM_ENVS, np.int64))
    stuck = truncations & ~terminations
    assert stuck.any()
    for slot in np.flatnonzero(stuck):
        assert infos[slot]["final_obs"] in envs.single_observation_space
        assert infos[slot]["episode"]["r"] == 0
        assert infos[slot]["episode"]["l"] == 250


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


def test_procgen_has_frames_alone_and_no_final_observation() -> None:
    envs = make("procgen-starpilot", 4, render_mode="rgb_array")
    assert envs.single_observation_space == gymnasium.spaces.Dict(
        {"frame": gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)}
    )
    assert envs.single_action_space == gymnasium.spaces.Discrete(15)
    observation, infos = envs.reset(seed=0)
    assert observation in envs.observation_space
    pictures = envs.render()
    assert pictures is not None
    assert [picture.shape for picture in pictures] == [(256, 256, 3)] * 4
    envs.action_space.seed(0)
    ended = 0
    for _ in range(200):
        before = infos["level_id"]
        observation, _, terminations, truncations, infos = envs.step(envs.action_space.sample())
        assert "final_obs" not in infos
        done = terminations | truncations
        assert (infos["level_id"] != before)[done].all(), "what comes with an end is the next episode's first frame"
        ended += done.sum()
    assert ended
    assert observation in envs.observation_space
    envs.close()
