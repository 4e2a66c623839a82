"""A planner that sees the whole state: breadth-first distances over (direction, row, column) to the current subgoal.

It plans anew at each step, so random actions in between do no harm, and its action is a function of the state alone (ties go
to the action with the lower number). It solves the goals AgentOnTile, AgentHold, AgentNear and TileNear, opens closed doors,
and puts down what it carries when that is in the way.

Legend: B batch, D = 4 directions (up, right, down, left), H rows, W columns.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lamflow.envs.rulesets import AGENT_HOLD, AGENT_NEAR, AGENT_ON_TILE, TILE_NEAR

FORWARD, RIGHT, LEFT, PICK_UP, PUT_DOWN, TOGGLE = range(6)
FLOOR, GOAL, DOOR_CLOSED, DOOR_OPEN = 1, 6, 9, 10
PICKABLE = (3, 4, 5, 7, 11, 12)
FAR = 30_000
"""Distance of what cannot be reached (int16)."""


class _Scene(NamedTuple):
    """Masks of a batch of states; cells bool [B, H, W]."""

    floor: jax.Array
    walkable: jax.Array
    closed_door: jax.Array
    first: jax.Array  # cells with the goal's first object
    second: jax.Array  # cells with the goal's second object
    carries: jax.Array  # bool [B]
    carries_first: jax.Array
    carries_second: jax.Array
    goal: jax.Array  # goal id int [B]


def _ahead(cells: jax.Array, fill: Any) -> jax.Array:
    """[B, H, W] -> [B, D, H, W]: the value of the cell that an agent at (direction, row, column) faces."""
    padded = jnp.pad(cells, ((0, 0), (1, 1), (1, 1)), constant_values=fill)
    return jnp.stack([padded[:, :-2, 1:-1], padded[:, 1:-1, 2:], padded[:, 2:, 1:-1], padded[:, 1:-1, :-2]], axis=1)


def _ahead_of_each(values: jax.Array, fill: Any) -> jax.Array:
    """[B, D, H, W] -> [B, D, H, W]: the value, in the same direction, of the cell ahead."""
    padded = jnp.pad(values, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=fill)
    return jnp.stack(
        [padded[:, 0, :-2, 1:-1], padded[:, 1, 1:-1, 2:], padded[:, 2, 2:, 1:-1], padded[:, 3, 1:-1, :-2]], axis=1
    )


def _beside(cells: jax.Array) -> jax.Array:
    """bool [B, H, W]: cells with a marked cell among their four neighbours."""
    return _ahead(cells, False).any(axis=1)


def _look(state: Any) -> _Scene:
    grid, pocket, goal = state.grid, state.agent.pocket, state.goal_encoding
    first, second = goal[:, None, None, 1:3], goal[:, None, None, 3:5]
    tiles = grid[..., 0]
    return _Scene(
        floor=tiles == FLOOR,
        walkable=(tiles == FLOOR) | (tiles == GOAL) | (tiles == DOOR_OPEN),
        closed_door=tiles == DOOR_CLOSED,
        first=(grid == first).all(-1),
        second=(grid == second).all(-1),
        carries=pocket[:, 0] != 0,
        carries_first=(pocket == goal[:, 1:3]).all(-1),
        carries_second=(pocket == goal[:, 3:5]).all(-1),
        goal=goal[:, 0],
    )


def _subgoal(scene: _Scene) -> tuple[jax.Array, jax.Array]:
    """States that complete the current subgoal, bool [B, D, H, W], and the action that completes it there, int [B]."""
    faces_first, faces_second = _ahead(scene.first, False), _ahead(scene.second, False)
    faces_floor = _ahead(scene.floor, False)
    beside_first, beside_second = _beside(scene.first), _beside(scene.second)
    ahead_beside_first = _ahead(beside_first, False)
    near = jnp.where(_ahead(scene.walkable, False), ahead_beside_first, beside_first[:, None])
    puts_near = faces_floor & (
        (_ahead(beside_second, False) & _wide(scene.carries_first)) | (ahead_beside_first & _wide(scene.carries_second))
    )
    # taking an object away only helps when the other one then has a free cell beside it
    take_first = faces_first & _wide((_beside(scene.second) & (scene.floor | scene.first)).any((1, 2)))
    take_second = faces_second & _wide((_beside(scene.first) & (scene.floor | scene.second)).any((1, 2)))
    tile_near, agent_near = scene.goal == TILE_NEAR, scene.goal == AGENT_NEAR
    useful = tile_near & (scene.carries_first | scene.carries_second)
    lay_down = scene.carries & ~useful & ((scene.goal == AGENT_HOLD) | tile_near | (agent_near & scene.carries_first))
    target = jnp.where(_wide(lay_down), faces_floor, False)
    for goal_id, states in (
        (AGENT_ON_TILE, faces_first),
        (AGENT_HOLD, faces_first),
        (AGENT_NEAR, near),
        (TILE_NEAR, jnp.where(_wide(useful), puts_near, take_first | take_second)),
    ):
        target = jnp.where(_wide((scene.goal == goal_id) & ~lay_down), states, target)
    action = jnp.where(lay_down | useful, PUT_DOWN, jnp.where((scene.goal == AGENT_HOLD) | tile_near, PICK_UP, FORWARD))
    return target, action


def _wide(mask: jax.Array) -> jax.Array:
    return mask[:, None, None, None]


def _distances(target: jax.Array, enterable: jax.Array, closed_door: jax.Array) -> jax.Array:
    """Steps from each state to the nearest target state, int16 [B, D, H, W], by relaxation until nothing changes.

    Walking into a closed door costs one step more (to open it).
    """
    cost_ahead = 1 + _ahead(closed_door, False).astype(jnp.int16)
    can_enter = _ahead(enterable, False)
    start = jnp.where(target, 0, FAR).astype(jnp.int16)

    def relax(carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        distances, _ = carry
        forward = jnp.where(can_enter, _ahead_of_each(distances, FAR) + cost_ahead, FAR)
        turned = jnp.minimum(jnp.roll(distances, 1, axis=1), jnp.roll(distances, -1, axis=1)) + 1
        relaxed = jnp.minimum(distances, jnp.minimum(forward, turned)).astype(jnp.int16)
        return relaxed, (relaxed != distances).any()

    return jax.lax.while_loop(lambda carry: carry[1], relax, (start, jnp.bool_(True)))[0]


def plan(params: Any, timesteps: Any, key: jax.Array) -> jax.Array:
    """The planner's actions int32 [B]; ``params`` and ``key`` are not used (it is deterministic)."""
    state = timesteps.state
    scene = _look(state)
    target, completing = _subgoal(scene)
    distances = _distances(target, scene.walkable | scene.closed_door, scene.closed_door)
    rows = jnp.arange(len(completing))
    row, column, direction = state.agent.position[:, 0], state.agent.position[:, 1], state.agent.direction
    here = distances[rows, direction, row, column]
    door_ahead = _ahead(scene.closed_door, False)[rows, direction, row, column]
    ahead = jnp.where(
        _ahead(scene.walkable | scene.closed_door, False)[rows, direction, row, column],
        _ahead_of_each(distances, FAR)[rows, direction, row, column] + door_ahead,
        FAR,
    )
    right = distances[rows, (direction + 1) % 4, row, column]
    left = distances[rows, (direction - 1) % 4, row, column]
    move = jnp.argmin(jnp.stack([ahead, right, left]), axis=0)
    move = jnp.where((move == FORWARD) & door_ahead, TOGGLE, move)
    return jnp.where(here == 0, completing, move).astype(jnp.int32)
