"""Whole episodes of given levels: each once, recorded from its first to its last observation, however many slots play."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lamflow.envs.interface import Episode, Observation
from lamflow.envs.levels import draw_levels
from lamflow.envs.presets import preset
from lamflow.envs.registry import make_vector_environment
from lamflow.play.episodes import Actor, play, play_once
from lamflow.play.recording import EpisodeRecorder

GRID, GAME = "xland-doorkey-5x5", "procgen-starpilot"


class Frugal(Actor):
    """Acts by what it sees and by how many steps it has made in the episode; counts the slots that it was asked for."""

    def __init__(self, num_slots: int) -> None:
        self.steps = np.zeros(num_slots, np.int64)
        self.rows: list[tuple[int, int]] = []

    def begin(self, slots: NDArray[np.int64], episodes: NDArray[np.int64], observation: Observation) -> None:
        assert len(slots) == len(episodes) == len(observation)
        self.steps[slots] = 0

    def act(self, slots: NDArray[np.int64], observation: Observation) -> NDArray[np.int64]:
        self.rows.append((len(slots), len(observation)))
        seen = observation.parts["frames"].reshape(len(observation), -1).sum(1, dtype=np.int64)
        self.steps += 1
        return (seen // 7 + self.steps) % 6

    def keep(self, slots: NDArray[np.int64]) -> None:
        self.steps = self.steps[slots]


def played(env: str, levels: NDArray[np.int64], num_slots: int) -> tuple[dict[int, Episode], list[Frugal]]:
    """The episodes by their place among the levels, and who acted."""
    actors: list[Frugal] = []

    def make_actor(size: int) -> Frugal:
        actors.append(Frugal(size))
        return actors[-1]

    def make_environment(size: int, stream: Iterator[int]) -> Any:
        return make_vector_environment(preset(env), size, level_stream=stream)

    found = play(make_environment, make_actor, EpisodeRecorder, levels, num_slots=num_slots)
    return dict(found), actors


@pytest.mark.slow
@pytest.mark.parametrize("env", [GRID, GAME])
def test_an_episode_is_the_same_in_one_slot_as_among_many(env: str) -> None:
    levels = draw_levels(preset(env), "test", 6, seed=0)
    many, _ = played(env, levels, 4)
    assert sorted(many) == list(range(6)) and [many[place].level_id for place in range(6)] == levels.tolist()
    for place in (0, 5):
        environment = make_vector_environment(preset(env), 1)
        alone = play_once(environment, Frugal(1), EpisodeRecorder(1), int(levels[place]))
        assert alone.observations.keys() == many[place].observations.keys() == preset(env).observation.keys()
        for name, part in alone.observations.items():
            np.testing.assert_array_equal(many[place].observations[name], part, name)
        for name in vars(alone).keys() - {"observations"}:
            np.testing.assert_array_equal(getattr(many[place], name), getattr(alone, name), name)
        kept = 1 if env == GRID else 0
        assert {len(part) for part in alone.observations.values()} == {alone.length + kept}


@pytest.mark.slow
def test_games_that_nobody_plays_are_left_out_where_the_simulator_can() -> None:
    _, actors = played(GAME, draw_levels(preset(GAME), "test", 8, seed=0), 8)
    assert all(playing > 0.75 * slots for actor in actors for playing, slots in actor.rows)
    _, actors = played(GRID, draw_levels(preset(GRID), "test", 8, seed=0), 8)
    assert all(slots == 4 for actor in actors for _, slots in actor.rows)
