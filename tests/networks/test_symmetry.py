"""Quarter turns: arithmetic of directions, and that the simulator's dynamics commute with them."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamflow.envs.presets import preset
from lamflow.envs.tiles import AGENT_TILE
from lamflow.envs.xland import Timesteps, XlandSimulator, make_simulator
from lamflow.networks.symmetry import agent_direction, face_up, rotate_each, rotate_frames

UP, RIGHT, DOWN, LEFT = range(4)
KEY = (7, 4)


def frame(row: int, column: int, direction: int) -> Tensor:
    """A 5x5 frame with an agent that carries colour 9, and a key in the upper left corner."""
    grid = torch.zeros(5, 5, 2, dtype=torch.uint8)
    grid[0, 0] = torch.tensor(KEY)
    grid[row, column] = torch.tensor([AGENT_TILE + direction, 9])
    return grid


def agent_of(grid: Tensor) -> tuple[int, int, int]:
    """Row, column and direction."""
    (place,) = torch.nonzero(grid[..., 0] >= AGENT_TILE)
    return int(place[0]), int(place[1]), int(agent_direction(grid[None])[0])


def test_a_quarter_turn_is_counter_clockwise_for_places_and_directions() -> None:
    turned = rotate_frames(frame(1, 3, RIGHT), 1)
    assert agent_of(turned) == (1, 1, UP), "the upper right went to the upper left, and right became up"
    assert tuple(turned[4, 0].tolist()) == KEY, "the upper left corner went to the lower left one"
    assert turned[1, 1, 1] == 9, "the agent still carries the colour"
    assert turned.dtype == torch.uint8


@pytest.mark.parametrize("direction", range(4))
def test_every_direction_loses_one_with_a_quarter_turn(direction: int) -> None:
    for turns in range(-4, 5):
        assert agent_of(rotate_frames(frame(2, 2, direction), turns))[2] == (direction - turns) % 4


def test_four_quarter_turns_are_none() -> None:
    original = frame(1, 3, LEFT)
    turned = original
    for _ in range(4):
        turned = rotate_frames(turned, 1)
    assert torch.equal(turned, original)
    assert torch.equal(rotate_frames(rotate_frames(original, 3), 1), original)
    assert torch.equal(rotate_frames(original, 2), rotate_frames(rotate_frames(original, 1), 1))


def test_each_entry_of_a_batch_turns_by_its_own_angle() -> None:
    frames = torch.stack([frame(1, 3, direction) for direction in range(4)])
    turns = torch.tensor([0, 1, -2, 7])
    expected = torch.stack([rotate_frames(part, int(angle)) for part, angle in zip(frames, turns, strict=True)])
    assert torch.equal(rotate_each(frames, turns), expected)
    assert torch.equal(rotate_each(rotate_each(frames, turns), -turns), frames)


def test_turning_leaves_its_argument_alone() -> None:
    frames = frame(1, 3, DOWN)[None]
    before = frames.clone()
    rotate_each(frames, torch.tensor([1]))
    assert torch.equal(frames, before)


@pytest.mark.parametrize("direction", range(4))
def test_facing_up_turns_the_whole_window_by_the_present_direction(direction: int) -> None:
    present, other = frame(2, 3, direction), frame(2, 3, (direction + 1) % 4)
    window = torch.stack([other, present, other])[None]
    up = face_up(window, present=1)[0]
    assert [agent_of(part)[2] for part in up] == [RIGHT, UP, RIGHT]
    assert torch.equal(up, torch.stack([rotate_frames(part, direction) for part in window[0]]))


@pytest.mark.parametrize("turns", range(1, 4))
def test_facing_up_forgets_how_the_window_was_turned(turns: int) -> None:
    window = torch.stack([frame(3, 1, RIGHT), frame(3, 2, RIGHT), frame(3, 3, RIGHT)])[None]
    assert torch.equal(face_up(rotate_frames(window, turns), present=1), face_up(window, present=1))


def test_a_step_forward_of_an_agent_that_faces_right_becomes_a_step_up() -> None:
    window = torch.stack([frame(3, 1, RIGHT), frame(3, 1, RIGHT), frame(3, 2, RIGHT)])[None]
    rows, columns, directions = zip(*(agent_of(part) for part in face_up(window, present=1)[0]), strict=True)
    assert directions == (UP, UP, UP)
    assert rows[2] == rows[1] - 1 and columns[2] == columns[1]


def turned_levels(timesteps: Timesteps, size: int) -> Timesteps:
    """The simulator's states after a quarter turn counter-clockwise of their grids and agents."""
    agent = timesteps.state.agent
    position = np.stack([size - 1 - agent.position[:, 1], agent.position[:, 0]], axis=1)
    agent = agent.replace(position=position, direction=(agent.direction - 1) % 4)
    grid = np.rot90(timesteps.state.grid, axes=(1, 2))
    return timesteps.replace(state=timesteps.state.replace(agent=agent, grid=grid))


@pytest.fixture(scope="module")
def simulator() -> XlandSimulator:
    return make_simulator(preset("xland-doorkey-5x5-full"))


Advance = Callable[[Timesteps, NDArray[np.int32]], tuple[Timesteps, Tensor, Tensor]]


@pytest.fixture(scope="module")
def advance(simulator: XlandSimulator) -> Advance:
    """The state after one step, and the frames before and after it; compiled once, so always of 256 levels."""

    def step(timesteps: Timesteps, actions: jax.Array) -> tuple[Timesteps, jax.Array, jax.Array]:
        stepped = simulator.step(timesteps, actions)
        return stepped, simulator.observe(timesteps)["frames"], simulator.observe(stepped)["frames"]

    program = jax.jit(step)

    def on_host(timesteps: Timesteps, actions: NDArray[np.int32]) -> tuple[Timesteps, Tensor, Tensor]:
        stepped, before, after = program(timesteps, actions)
        return stepped, torch.from_numpy(np.array(before)), torch.from_numpy(np.array(after))

    return on_host


@pytest.mark.slow
def test_the_simulator_of_a_turned_grid_shows_the_turned_grid_whatever_is_done(
    simulator: XlandSimulator, advance: Advance
) -> None:
    """The symmetry that canonical windows rest on: with DoorKey's keys, doors and goals, over 60 random steps."""
    levels = simulator.reset_levels(np.arange(128))
    both = jax.tree.map(lambda *parts: np.concatenate(parts), levels, turned_levels(levels, 5))
    generator = np.random.default_rng(0)
    moved = set()
    for _ in range(60):
        actions = generator.choice(6, size=128, p=[0.4, 0.12, 0.12, 0.12, 0.12, 0.12]).astype(np.int32)
        both, frames, _ = advance(both, np.tile(actions, 2))
        upright, turned = frames.chunk(2)
        assert torch.equal(rotate_frames(upright, 1), turned)
        moved |= {agent_of(part) for part in upright}
    upright_ended, turned_ended = np.split(np.asarray(both.last()), 2)
    assert (upright_ended == turned_ended).all() and upright_ended.any()
    assert len(moved) > 20, "the agents walked about"


def test_the_simulator_counts_directions_as_the_rotations_do(simulator: XlandSimulator, advance: Advance) -> None:
    """Turned so that the agent faces up, a step forward that moves it takes it up by one cell."""
    _, frames, after = advance(simulator.reset_levels(np.arange(256)), np.zeros(256, np.int32))
    windows = face_up(torch.stack([frames, frames, after], dim=1), present=1)
    moves = {(b[0] - a[0], b[1] - a[1], b[2]) for a, b in ((agent_of(w[1]), agent_of(w[2])) for w in windows)}
    assert moves == {(0, 0, UP), (-1, 0, UP)}, "against a wall or a door it stays"
    assert set(agent_direction(frames).tolist()) == {UP, RIGHT, DOWN, LEFT}
