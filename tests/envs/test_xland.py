"""The simulator: views that agree, episodes that stop where they end, rollouts and vector environments that agree."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamflow.envs.interface import Episode
from lamflow.envs.levels import draw_levels
from lamflow.envs.presets import preset, presets
from lamflow.envs.registry import make_vector_environment
from lamflow.envs.rollouts import rollout
from lamflow.envs.tiles import AGENT_TILE
from lamflow.envs.xland import Timesteps, make_simulator

ENV = "xland-doorkey-5x5"
BATCH = 32


def act_by_state(_: None, timesteps: Timesteps, __: jax.Array) -> jax.Array:
    """Pseudo-random actions that depend on the state alone, so that vector environments can be driven the same way."""
    state = timesteps.state
    mixed = (
        state.step_num * 7
        + state.agent.position.sum(axis=1) * 3
        + state.agent.direction
        + state.key[:, 1].astype(int) % 97
    )
    return jnp.abs(mixed * 31) % 11 % 6


@pytest.fixture(scope="module")
def levels() -> np.ndarray:
    return draw_levels(preset(ENV), "train", BATCH, seed=5)


@pytest.fixture(scope="module")
def episodes(levels: np.ndarray) -> dict[str, list[Episode]]:
    return {
        view: list(rollout(make_simulator(preset(view)), act_by_state, None, levels, seed=0, batch=BATCH))
        for view in (ENV, f"{ENV}-full")
    }


@pytest.mark.slow
def test_an_episode_keeps_its_final_observation_and_the_reward_that_led_to_it(
    episodes: dict[str, list[Episode]],
) -> None:
    assert len(episodes[ENV]) == BATCH
    solved = [episode for episode in episodes[f"{ENV}-full"] if episode.terminated]
    for episode in episodes[f"{ENV}-full"]:
        assert set(episode.observations) == {"frames", "proprioception"}
        assert {len(part) for part in episode.observations.values()} == {episode.length + 1}
        assert episode.terminated != episode.truncated
        assert episode.length <= 250
        assert (episode.length == 250) or episode.terminated
        assert not episode.rewards[:-1].any(), "the reward comes with the last transition"
        assert (episode.rewards[-1] > 0) == episode.terminated
    for episode in solved:
        before, after = episode.observations["frames"][-2:, ..., 0]
        assert (before == 6).any(), "the goal tile is visible before the last action"
        assert after[3, 3] >= AGENT_TILE, "and the agent stands on it afterwards"
        assert episode.actions[-1] == 0


def test_the_egocentric_view_can_be_cut_out_of_the_full_grid(episodes: dict[str, list[Episode]]) -> None:
    for egocentric, full in zip(episodes[ENV], episodes[f"{ENV}-full"], strict=True):
        np.testing.assert_array_equal(egocentric.actions, full.actions)
        np.testing.assert_array_equal(egocentric.observations["proprioception"], full.observations["proprioception"])
        for frame, grid in zip(egocentric.observations["frames"][:40], full.observations["frames"][:40], strict=True):
            rows, columns = np.nonzero(grid[..., 0] >= AGENT_TILE)
            assert len(rows) == 1, "there is one agent"
            direction = int(grid[rows[0], columns[0], 0]) - AGENT_TILE
            padded = np.pad(grid, ((5, 5), (5, 5), (0, 0)))
            top, left = {0: (-4, -2), 1: (-2, 0), 2: (0, -2), 3: (-2, -4)}[direction]
            row, column = rows[0] + 5 + top, columns[0] + 5 + left
            cut = np.rot90(padded[row : row + 5, column : column + 5], direction)
            elsewhere = np.ones((5, 5), bool)
            elsewhere[4, 2] = False  # the agent hides the tile that it stands on
            np.testing.assert_array_equal(cut[elsewhere], frame[elsewhere])


def test_categories_stay_below_the_sizes_of_the_spec(episodes: dict[str, list[Episode]]) -> None:
    for name, played in episodes.items():
        for episode in played:
            assert (episode.observations["frames"] < np.array(presets()[name].category_sizes)).all()
            assert (episode.observations["proprioception"] < np.array(presets()[name].proprioception_sizes)).all()


def test_the_full_view_shows_direction_and_carried_colour(episodes: dict[str, list[Episode]]) -> None:
    carried = set()
    for episode in episodes[f"{ENV}-full"]:
        for grid, (direction, tile, color) in zip(
            episode.observations["frames"], episode.observations["proprioception"], strict=True
        ):
            agent = grid[grid[..., 0] >= AGENT_TILE][0]
            assert tuple(agent) == (AGENT_TILE + direction, color)
            carried.add((int(tile), int(color)))
    assert carried == {(0, 0), (7, 5)}, "nothing or the yellow key"


def test_the_same_seed_gives_the_same_episodes(levels: np.ndarray, episodes: dict[str, list[Episode]]) -> None:
    again = list(rollout(make_simulator(preset(ENV)), act_by_state, None, levels, seed=0, batch=BATCH))
    for first, second in zip(episodes[ENV], again, strict=True):
        np.testing.assert_array_equal(first.observations["frames"], second.observations["frames"])
        np.testing.assert_array_equal(first.actions, second.actions)
    fewer = list(rollout(make_simulator(preset(ENV)), act_by_state, None, levels[:5], seed=0, batch=BATCH))
    assert [episode.level_id for episode in fewer] == levels[:5].tolist()
    np.testing.assert_array_equal(fewer[4].observations["frames"], episodes[ENV][4].observations["frames"])


@pytest.mark.slow
def test_an_episode_that_has_ended_stays_as_it_is_and_gives_no_more_reward(levels: np.ndarray) -> None:
    simulator = make_simulator(preset(ENV))
    timesteps = simulator.reset_levels(levels)
    ended = np.arange(BATCH) % 2 == 0
    timesteps = timesteps.replace(
        step_type=np.where(ended, 2, 1).astype(np.uint8),
        reward=np.full(BATCH, 0.9, np.float32),
        discount=~ended * np.float32(1),
    )
    stepped = jax.jit(simulator.step)(timesteps, np.full(BATCH, 1, np.int32))  # every agent turns
    np.testing.assert_array_equal(stepped.last(), ended)
    np.testing.assert_array_equal(stepped.reward, np.zeros(BATCH))
    np.testing.assert_array_equal(stepped.state.agent.direction == timesteps.state.agent.direction, ended)
    np.testing.assert_array_equal(stepped.state.step_num, np.where(ended, 0, 1))
    np.testing.assert_array_equal(stepped.observation[ended], timesteps.observation[ended])


@pytest.mark.slow
def test_a_vector_environment_plays_the_same_episodes(levels: np.ndarray, episodes: dict[str, list[Episode]]) -> None:
    environment = make_vector_environment(preset(ENV), BATCH)
    observation = environment.reset(levels)
    expected = episodes[ENV]
    np.testing.assert_array_equal(
        observation.parts["frames"], [episode.observations["frames"][0] for episode in expected]
    )
    lengths = np.array([episode.length for episode in expected])
    for step in range(int(lengths.max())):
        actions = np.array([e.actions[min(step, e.length - 1)] for e in expected], np.int64)
        result = environment.step(actions)
        assert result.final_observation is not None
        for slot, episode in enumerate(expected):
            if step < episode.length:
                np.testing.assert_array_equal(
                    result.final_observation.parts["frames"][slot], episode.observations["frames"][step + 1]
                )
                np.testing.assert_array_equal(
                    result.final_observation.parts["proprioception"][slot],
                    episode.observations["proprioception"][step + 1],
                )
                assert result.rewards[slot] == episode.rewards[step]
                assert result.terminated[slot] == (episode.terminated and step == episode.length - 1)
                assert result.truncated[slot] == (episode.truncated and step == episode.length - 1)
            if step == episode.length - 1:
                np.testing.assert_array_equal(
                    result.observation.parts["frames"][slot], episode.observations["frames"][0]
                )
                assert result.level_ids[slot] == levels[slot], "without a stream a slot repeats its level"
            elif step < episode.length:
                np.testing.assert_array_equal(
                    result.observation.parts["frames"][slot], episode.observations["frames"][step + 1]
                )
    environment.close()


def test_a_level_stream_gives_later_episodes_their_levels(
    levels: np.ndarray, episodes: dict[str, list[Episode]]
) -> None:
    stream = draw_levels(preset(ENV), "validation", BATCH + 1, seed=0)
    environment = make_vector_environment(preset(ENV), BATCH, level_stream=iter(stream.tolist()))
    environment.reset(levels)
    order: list[int] = []
    for step in range(min(250, 1 + max(e.length for e in episodes[ENV]))):
        result = environment.step(np.array([e.actions[min(step, e.length - 1)] for e in episodes[ENV]]))
        for slot in np.flatnonzero(result.terminated | result.truncated):
            if episodes[ENV][slot].length == step + 1:
                order.append(slot)
                assert result.level_ids[slot] == stream[slot], "the stream was dealt out to the slots in order"
                first = make_simulator(preset(ENV)).reset_levels(stream[[slot]])
                np.testing.assert_array_equal(result.observation.parts["frames"][slot], first.observation[0])
    assert sorted(order) == list(range(BATCH))


@pytest.mark.parametrize("name", sorted(name for name, spec in presets().items() if spec.family == "xland"))
def test_observations_have_the_shapes_and_types_of_the_spec(name: str) -> None:
    """Traced, not compiled: that takes a tenth of the time."""
    spec, simulator = presets()[name], make_simulator(preset(name), 20)
    timesteps = jax.eval_shape(simulator.reset, jnp.zeros(3, jnp.int32), jnp.zeros(3, jnp.uint32))
    found = jax.eval_shape(simulator.observe, timesteps)
    assert found.keys() == spec.observation.keys() >= {"frames", "proprioception"}
    assert ("task" in found) == spec.uses_rulesets
    for part, space in spec.observation.items():
        assert found[part].shape == (3, *space.shape)
        assert found[part].dtype == np.dtype(space.dtype) == np.uint8


def test_actions_that_were_sent_are_the_callers_again(levels: np.ndarray) -> None:
    whole, halves = (make_vector_environment(preset(ENV), BATCH) for _ in range(2))
    whole.reset(levels)
    halves.reset(levels)
    generator = np.random.default_rng(0)
    for _ in range(20):
        actions = generator.integers(6, size=BATCH)
        expected = whole.step(actions).observation
        halves.send(actions)
        actions[:] = 5
        found = halves.receive().observation
        np.testing.assert_array_equal(found.parts["frames"], expected.parts["frames"])
        np.testing.assert_array_equal(found.parts["proprioception"], expected.parts["proprioception"])


def test_misuse_is_refused_with_what_was_expected() -> None:
    environment = make_vector_environment(preset(ENV), BATCH)
    with pytest.raises(RuntimeError, match="step before reset"):
        environment.step(np.zeros(BATCH, np.int64))
    with pytest.raises(ValueError, match=r"found level ids of shape \(2,\), expected \(32,\)"):
        environment.reset(np.zeros(2, np.int64))
    environment.reset(np.zeros(BATCH, np.int64))
    with pytest.raises(ValueError, match=r"in 0\.\.5"):
        environment.step(np.full(BATCH, 6))
    with pytest.raises(ValueError, match="num_envs: found 0"):
        make_vector_environment(preset(ENV), 0)
