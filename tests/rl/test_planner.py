"""The planner solves its tasks, from any state, by actions that depend on the state alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamflow.envs.interface import Episode
from lamflow.envs.levels import draw_levels
from lamflow.envs.presets import preset
from lamflow.envs.rollouts import rollout
from lamflow.envs.rulesets import AGENT_HOLD, AGENT_NEAR, TILE_NEAR
from lamflow.envs.xland import make_simulator
from lamflow.rl.demonstrators import with_random_actions
from lamflow.rl.planner import plan

ACT = with_random_actions(plan)


def play(env: str, count: int, epsilon: float, seed: int = 0) -> list[Episode]:
    return list(
        rollout(make_simulator(preset(env)), ACT, (None, epsilon), draw_levels(preset(env), "test", count, seed), seed)
    )


@pytest.fixture(scope="module")
def xland() -> list[Episode]:
    return play("xland-r1-9x9-full", 512, epsilon=0.0)


@pytest.mark.slow
def test_xland_rulesets_are_solved(xland: list[Episode]) -> None:
    goals = np.array([episode.observations["task"][0, 0] for episode in xland])
    solved = np.array([episode.terminated for episode in xland])
    assert set(goals) == {AGENT_HOLD, AGENT_NEAR, TILE_NEAR}
    assert solved.mean() >= 0.97
    assert np.mean([episode.total_reward for episode in xland]) > 0.95


@pytest.mark.slow
def test_xland_rulesets_are_solved_from_wherever_random_actions_lead() -> None:
    episodes = play("xland-r1-9x9-full", 512, epsilon=0.3)
    assert np.mean([episode.terminated for episode in episodes]) >= 0.97
    counts = np.bincount(np.concatenate([episode.actions for episode in episodes]), minlength=6)
    assert (counts > 20).all(), "every action occurs"


@pytest.mark.slow
def test_fourrooms_is_always_solved() -> None:
    episodes = play("xland-fourrooms", 256, epsilon=0.0)
    assert all(episode.terminated for episode in episodes)


def test_actions_depend_on_the_state_alone(xland: list[Episode]) -> None:
    simulator = make_simulator(preset("xland-r1-9x9-full"))
    levels = np.array([episode.level_id for episode in xland[:256]])
    timesteps = simulator.reset_levels(levels)
    actions = [jax.jit(plan)(None, timesteps, jax.random.PRNGKey(seed)) for seed in (0, 1)]
    np.testing.assert_array_equal(actions[0], actions[1])
    np.testing.assert_array_equal(actions[0], [episode.actions[0] for episode in xland[:256]])


def shortest_path_length(grid: np.ndarray, start: tuple[int, int, int]) -> int:
    """Breadth-first search by hand: least number of actions onto the goal tile (tile 6)."""
    steps = ((-1, 0), (0, 1), (1, 0), (0, -1))
    frontier, seen, length = {start}, {start}, 0
    while frontier:
        reached = set()
        for row, column, direction in frontier:
            if grid[row, column, 0] == 6:
                return length
            ahead = (row + steps[direction][0], column + steps[direction][1])
            if grid[(*ahead, 0)] in (1, 6, 10):
                reached.add((*ahead, direction))
            reached |= {(row, column, (direction + turn) % 4) for turn in (1, -1)}
        frontier = reached - seen
        seen |= frontier
        length += 1
    raise AssertionError("no path")


@pytest.mark.slow
def test_paths_are_as_short_as_a_breadth_first_search_by_hand_finds() -> None:
    episodes = play("xland-fourrooms", 256, epsilon=0.0)[:60]
    timesteps = make_simulator(preset("xland-fourrooms")).reset_levels(
        np.array([episode.level_id for episode in episodes])
    )
    agents = timesteps.state.agent
    for index, episode in enumerate(episodes):
        start = (*agents.position[index].tolist(), int(agents.direction[index]))
        assert episode.length == shortest_path_length(np.asarray(timesteps.state.grid[index]), start)


def act_on(grid: list[str], direction: int, goal: tuple[int, ...], pocket: tuple[int, int] = (0, 0)) -> int:
    """The planner's action on a drawn grid: # wall, . floor, D closed door, b red ball, s blue square, A agent."""
    timesteps = make_simulator(preset("xland-r1-9x9-full")).reset_levels(np.zeros(1, np.int64))
    tiles = {"#": (2, 6), ".": (1, 7), "D": (9, 1), "b": (3, 1), "s": (4, 3), "A": (1, 7)}
    cells = np.full((9, 9, 2), (2, 6), np.uint8)
    for row, line in enumerate(grid):
        for column, symbol in enumerate(line):
            cells[row + 1, column + 1] = tiles[symbol]
            if symbol == "A":
                position = np.array([[row + 1, column + 1]])
    agent = timesteps.state.agent.replace(
        position=jnp.asarray(position), direction=jnp.array([direction]), pocket=jnp.array([pocket], jnp.uint8)
    )
    goals = jnp.array([goal + (0,) * (5 - len(goal))], jnp.uint8)
    state = timesteps.state.replace(grid=jnp.asarray(cells[None]), agent=agent, goal_encoding=goals)
    return int(jax.jit(plan)(None, timesteps.replace(state=state), jax.random.PRNGKey(0))[0])


FORWARD, RIGHT, LEFT, PICK_UP, PUT_DOWN, TOGGLE = range(6)
BALL, SQUARE, STAR = (3, 1), (4, 3), (12, 2)


@pytest.mark.parametrize(
    ("grid", "direction", "goal", "pocket", "action"),
    [
        (["A.b"], 1, (AGENT_HOLD, *BALL), (0, 0), FORWARD),
        (["Ab."], 1, (AGENT_HOLD, *BALL), (0, 0), PICK_UP),
        (["Ab."], 2, (AGENT_HOLD, *BALL), (0, 0), LEFT),
        (["Ab."], 0, (AGENT_HOLD, *BALL), (0, 0), RIGHT),
        ([".A.b"], 1, (AGENT_HOLD, *BALL), SQUARE, PUT_DOWN),
        (["AD.b"], 1, (AGENT_HOLD, *BALL), (0, 0), TOGGLE),
        (["Ab."], 1, (AGENT_NEAR, *BALL), (0, 0), FORWARD),
        ([".A."], 1, (AGENT_NEAR, *BALL), BALL, PUT_DOWN),
        (["A.s"], 1, (TILE_NEAR, *BALL, *SQUARE), BALL, PUT_DOWN),
        (["A.b"], 1, (TILE_NEAR, *BALL, *SQUARE), SQUARE, PUT_DOWN),
        (["A.bs"], 1, (TILE_NEAR, *BALL, *SQUARE), STAR, PUT_DOWN),
        (["Abs"], 1, (TILE_NEAR, *BALL, *SQUARE), (0, 0), PICK_UP),
    ],
)
def test_decisions_in_drawn_situations(
    grid: list[str], direction: int, goal: tuple[int, ...], pocket: tuple[int, int], action: int
) -> None:
    assert act_on(grid, direction, goal, pocket) == action
