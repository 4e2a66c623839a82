"""A user's policy that has a state: one per running episode, which is set back where an episode begins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lamflow.envs.gymnasium_settings import GymnasiumSettings
from lamflow.envs.spec import EnvironmentSpec
from lamflow.rl.demonstrator_settings import CollectionSettings
from lamflow.rl.gymnasium_demonstrator import collect

PACKAGE = """
import gymnasium
import numpy as np
from gymnasium import spaces

class Clock(gymnasium.Env):
    '''Shows its level's seed and how many steps were taken; an episode ends after 2 + seed % 7 of them.'''

    action_space = spaces.Discrete(9)
    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seed, self.steps = seed, 0
        return self.observe(), {}

    def observe(self):
        return np.array([self.seed % 1000, self.steps], float)

    def step(self, action):
        self.steps += 1
        return self.observe(), 0.0, self.steps == 2 + self.seed % 7, False, {}

gymnasium.register("Clock-v0", Clock, max_episode_steps=9)

class Recurrent:
    '''Answers how often it was asked since it was set back; it refuses to be asked of two episodes in between.'''

    def __init__(self):
        self.asked, self.level = 0, None

    def reset(self):
        self.asked, self.level = 0, None

    def __call__(self, seen):
        assert self.level in (None, seen[0]), "a state of another episode"
        self.level, self.asked = seen[0], self.asked + 1
        return self.asked - 1

ONE = Recurrent()

def shared():
    return ONE
"""


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], EnvironmentSpec]:
    """The environment, demonstrated by a policy of its package."""
    tmp_path.joinpath("clock_package.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(tmp_path)

    def described(policy: str) -> EnvironmentSpec:
        demonstrator = {"kind": "policy", "path": f"clock_package:{policy}"}
        settings = GymnasiumSettings.model_validate({"id": "clock_package:Clock-v0", "demonstrator": demonstrator})
        spec: EnvironmentSpec = settings.build(name="clock")
        return spec

    return described


def collected(spec: EnvironmentSpec, epsilon: float = 0.0) -> list[list[int]]:
    """The actions of each episode: more of them than run at once, of different lengths."""
    settings = CollectionSettings(train_episodes=40, reference_episodes=2, epsilon=epsilon)
    return [episode.actions.tolist() for episode in collect(spec, settings, "train", 0, Path("unread")).episodes]


def test_a_state_is_that_of_one_episode_from_its_begin_on(clock: Callable[[str], EnvironmentSpec]) -> None:
    episodes = collected(clock("Recurrent"))
    assert len(episodes) == 40
    assert len({len(actions) for actions in episodes}) == 7
    assert all(actions == list(range(len(actions))) for actions in episodes)


def test_a_policy_sees_all_of_an_episode_also_where_chance_acts(clock: Callable[[str], EnvironmentSpec]) -> None:
    episodes = collected(clock("Recurrent"), epsilon=0.5)
    as_it_says = np.concatenate([np.array(actions) == np.arange(len(actions)) for actions in episodes])
    assert 0.4 < as_it_says.mean() < 0.75


def test_one_state_for_all_episodes_is_refused(clock: Callable[[str], EnvironmentSpec]) -> None:
    with pytest.raises(ValueError, match=r"demonstrator\.path: clock_package:shared answered the same policy twice"):
        collected(clock("shared"))
