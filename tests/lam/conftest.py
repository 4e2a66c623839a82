"""A world of pixels that needs no simulator: a bright square that moves on a dark ground."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from lamflow.data.store import EpisodeArrays

STEP, SIDE, LENGTH = 16, 16, 20
MOVES = {1: (0, -1), 7: (0, 1), 3: (1, 0), 5: (-1, 0), 4: (0, 0), 9: (0, 0)}
"""Actions of Procgen by what they do: (rows, columns); 9 is another 4."""


@pytest.fixture(scope="session")
def squares() -> Callable[..., EpisodeArrays]:
    """Makes ``num_episodes`` episodes of it by ``seed``."""

    def episodes(num_episodes: int, seed: int) -> EpisodeArrays:
        """Episodes of a bright square that moves at random on a dark ground, with no final observations, like Procgen's."""
        generator = np.random.default_rng(seed)
        count = num_episodes * LENGTH
        frames, ends = np.full((count, 64, 64, 3), 40, np.uint8), np.zeros(count, np.bool_)
        actions = generator.choice(list(MOVES), count)
        for row in range(count):
            if row % LENGTH == 0:
                corner = STEP * generator.integers(0, 64 // STEP, 2)
            top, left = corner
            frames[row, top : top + SIDE, left : left + SIDE] = (250, 200, 120)
            corner = np.clip(corner + STEP * np.array(MOVES[int(actions[row])]), 0, 64 - SIDE)
        ends[LENGTH - 1 :: LENGTH] = True
        return EpisodeArrays(
            observations={"frames": frames},
            actions=actions,
            acted=np.ones(count, np.bool_),
            rewards=np.zeros(count, np.float32),
            terminated=ends,
            truncated=np.zeros(count, np.bool_),
            episode_starts=np.arange(0, count, LENGTH),
            level_seeds=np.arange(num_episodes),
        )

    return episodes
