"""Any environment of Gymnasium: what it is found to be, how it is played, and what is refused."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lamflow.envs.families import family_of
from lamflow.envs.gymnasium_settings import GymnasiumSettings
from lamflow.envs.levels import draw_levels
from lamflow.envs.registry import make_vector_environment
from lamflow.envs.spec import EnvironmentSpec
from lamflow.spaces import Box, Categories, Discrete, Pixels, Vector

PACKAGE = """
import gymnasium
import numpy as np
from gymnasium import spaces

class Counting(gymnasium.Env):
    '''Shows its level's seed and how many steps were taken; an episode ends after 2 + seed % 3 of them.'''

    action_space = spaces.Discrete(5)
    observation_space = spaces.Dict(
        {"picture": spaces.Box(0, 255, (40, 48, 3), np.uint8), "pose": spaces.Box(-np.inf, np.inf, (2,), np.float64)}
    )

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seed, self.steps = seed, 0
        return self.observe(), {}

    def observe(self):
        return {"picture": np.full((40, 48, 3), self.steps, np.uint8), "pose": np.array([self.seed % 1000, self.steps], float)}

    def step(self, action):
        self.steps += 1
        return self.observe(), float(action), self.steps == 2 + self.seed % 3, False, {}

class Odd(Counting):
    def __init__(self, odd):
        self.odd = odd
        spaces_of = {
            "sound": {"observation_space": spaces.Dict({"sound": spaces.Text(5)})},
            "pictures of 300": {"observation_space": spaces.Box(0, 255, (300, 300, 3), np.uint8)},
            "named badly": {"observation_space": spaces.Dict({"a/b": spaces.Discrete(3)})},
            "two vectors": {"observation_space": spaces.Dict({"a": spaces.Discrete(3), "b": spaces.Discrete(3)})},
            "two hands": {"action_space": spaces.MultiDiscrete([3, 3])},
            "from one": {"action_space": spaces.Discrete(5, start=1)},
        }
        for name, space in spaces_of.get(odd, {}).items():
            setattr(self, name, space)
        if odd == "broken":
            raise RuntimeError("no display")

    def observe(self):
        seen = super().observe()
        if self.odd == "nan" and self.steps == 1:
            seen["pose"][1] = np.nan
        if self.odd == "chance":
            seen["pose"][1] = np.random.default_rng().random()
        return seen

class Bright(gymnasium.ObservationWrapper):
    def observation(self, observation):
        return observation | {"picture": observation["picture"] + 100}

gymnasium.register("Counting-v0", Counting, max_episode_steps=9)
gymnasium.register("Endless-v0", Counting)
gymnasium.register("Odd-v0", Odd, max_episode_steps=9)
"""
Describe = Callable[..., EnvironmentSpec]


@pytest.fixture
def describe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Describe:
    """Environments of a user's package."""
    tmp_path.joinpath("their_games.py").write_text(PACKAGE)
    tmp_path.joinpath("torn.py").write_text("import numpy\nimport nothing_of_that_name\n")
    monkeypatch.syspath_prepend(tmp_path)

    def made(environment_id: str = "their_games:Counting-v0", **settings: Any) -> EnvironmentSpec:
        sys.modules.pop("their_games", None)
        return GymnasiumSettings.model_validate({"id": environment_id, **settings}).build(name="mine")

    return made


def test_an_environment_is_what_its_spaces_say(describe: Describe) -> None:
    spec = describe(action_names=["a", "b", "c", "d", "e"])
    assert dict(spec.observation) == {"picture": Pixels((40, 48, 3)), "pose": Vector((2,))}
    assert (spec.action, spec.main, spec.max_steps) == (Discrete(5), "picture", 9)
    assert spec.own["repeats"] and spec.own["modules"] == ["their_games"]
    assert EnvironmentSpec.from_facts(spec.facts()) == spec


@pytest.mark.parametrize(
    ("settings", "observation", "action"),
    [
        ({"id": "CartPole-v1"}, {"state": Vector((4,))}, Discrete(2)),
        ({"id": "FrozenLake-v1"}, {"state": Categories((1,), (16,))}, Discrete(4)),
        ({"id": "Pendulum-v1"}, {"state": Vector((3,))}, Box((-2.0,), (2.0,))),
        (
            {"id": "Blackjack-v1", "max_steps": 20, "wrappers": ["gymnasium.wrappers:FlattenObservation"]},
            {"state": Vector((45,))},
            Discrete(2),
        ),
    ],
    ids=lambda value: value.get("id") if isinstance(value, dict) else None,
)  # fmt: skip
def test_gymnasiums_own_environments_have_parts(settings: dict[str, Any], observation: Any, action: Any) -> None:
    spec = GymnasiumSettings.model_validate(settings).build(name="mine")
    assert dict(spec.observation) == observation and spec.action == action


def test_no_first_frame_of_a_next_episode_is_taken_for_a_last_one(describe: Describe) -> None:
    spec = describe()
    levels = iter([31, 32, 33])
    environment = make_vector_environment(spec, 2, level_stream=levels)
    seen = environment.reset(np.array([3, 4]))
    assert seen.parts["pose"].tolist() == [[3, 0], [4, 0]] and seen.parts["picture"].shape == (2, 40, 48, 3)
    for _ in range(2):
        result = environment.step(np.array([1, 4]))
    assert result.rewards.tolist() == [1, 4]
    assert result.terminated.tolist() == [True, False] and not result.truncated.any()
    assert result.level_ids.tolist() == [31, 4]
    assert result.observation.parts["pose"].tolist() == [[31, 0], [4, 2]]
    assert result.final_observation is not None
    assert result.final_observation.parts["pose"].tolist() == [[3, 2], [4, 2]]
    assert result.final_observation.parts["picture"][0, 0, 0].tolist() == [2, 2, 2]


def test_an_episode_that_the_step_limit_cuts_is_truncated(describe: Describe) -> None:
    environment = make_vector_environment(describe(max_steps=2), 1)
    environment.reset(np.array([2]))
    environment.step(np.array([0]))
    result = environment.step(np.array([0]))
    assert result.truncated.all() and not result.terminated.any()


def test_pictures_are_resized_only_where_the_settings_say_so(describe: Describe) -> None:
    spec = describe(resize=32, wrappers=["their_games:Bright"])
    assert spec.observation["picture"] == Pixels((32, 32, 3))
    seen = make_vector_environment(spec, 1).reset(np.array([0]))
    assert seen.parts["picture"].shape == (1, 32, 32, 3) and (seen.parts["picture"] == 100).all()


def test_splits_share_no_seed(describe: Describe) -> None:
    spec = describe()
    drawn = {split: draw_levels(spec, split, 500, seed=0) for split in ("train", "validation", "test")}
    bounds = [(levels.min(), levels.max()) for levels in drawn.values()]
    assert bounds[0][1] < bounds[1][0] and bounds[1][1] < bounds[2][0] and bounds[2][1] < 2**31
    assert family_of(spec).from_above(spec) == spec


def test_an_environment_that_chance_plays_in_is_told(describe: Describe) -> None:
    assert describe("their_games:Odd-v0", kwargs={"odd": "chance"}).own["repeats"] is False


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"environment_id": "Countnig-v0"}, "id: found 'Countnig-v0', which Gymnasium does not know: "),
        ({"environment_id": "torn:Counting-v0"}, r"id: torn cannot be imported: ModuleNotFoundError: .*nothing_.* \(.*torn\.py, line 2\)"),
        ({"environment_id": "their_games:Endless-v0"}, "max_steps: their_games:Endless-v0 is registered without a step limit"),
        ({"wrappers": ["their_games:Dark"]}, r"wrappers\.0: found no Dark in their_games"),
        ({"main": "sound"}, "main: found 'sound', expected one of the parts picture, pose"),
        ({"action_names": ["left", "right"]}, "action_names: found left, right, expected 5 different names"),
        ({"kwargs": {"size": 3}}, r"id: their_games:Counting-v0 cannot be made: TypeError: .*size"),
        ({"odd": "broken"}, r"cannot be made: RuntimeError: no display \(.*their_games\.py, line \d+\)"),
        ({"odd": "sound"}, r"observation space: part 'sound' is Text\(.*expected a picture"),
        ({"odd": "pictures of 300"}, r"part 'frames' has pictures of 300x300 pixels, expected sides from 32 to 256: set resize"),
        ({"odd": "named badly"}, "observation space: found a part named 'a/b', expected letters"),
        ({"odd": "two vectors"}, "main: say which of the parts a, b latent action models see"),
        ({"odd": "two hands"}, r"action space: found MultiDiscrete\(\[3 3\]\), expected Discrete from 0, or Box of rank 1"),
        ({"odd": "from one"}, r"action space: found Discrete\(5, start=1\), expected Discrete from 0, or Box of rank 1"),
        ({"odd": "nan"}, "part 'pose' of an observation holds NaN or infinity, expected finite numbers"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_by_what_is_wrong(
    settings: dict[str, Any], message: str, describe: Describe
) -> None:
    if "odd" in settings:
        settings = {"environment_id": "their_games:Odd-v0", "kwargs": settings}
    with pytest.raises(ValueError, match=message):
        describe(**settings)


def test_actions_and_numbers_that_are_none_are_refused_while_it_is_played(describe: Describe) -> None:
    environment = make_vector_environment(describe("Pendulum-v1"), 1)
    environment.reset(np.array([0]))
    for wrong in ([[3.0]], [[np.nan]]):
        with pytest.raises(ValueError, match="mine: found an action outside of its bounds, or NaN"):
            environment.send(np.array(wrong, np.float32))
    with pytest.raises(ValueError, match=r"mine: found actions of shape \(1,\), expected \(1, 1\)"):
        environment.send(np.array([0.0], np.float32))
    assert np.isfinite(environment.step(np.array([[0.5]], np.float32)).rewards).all()


@pytest.mark.parametrize("environment_id", ["their_games:Counting-v0", "Pendulum-v1"])
def test_saved_episodes_go_on_as_they_would_have(environment_id: str, describe: Describe) -> None:
    spec = describe(environment_id)
    generator = np.random.default_rng(0)
    shape, low, high = ((), 0, 5) if isinstance(spec.action, Discrete) else ((1,), -2, 2)

    def actions() -> Any:
        drawn = generator.uniform(low, high, (2, *shape))
        return drawn.astype(spec.action.dtype)

    straight, resumed = (make_vector_environment(spec, 2, level_stream=iter([50, 51, 52, 53])) for _ in range(2))
    with pytest.raises(RuntimeError, match="save before reset"):
        straight.save()
    straight.reset(np.array([31, 32]))
    for _ in range(3):
        last = straight.step(actions())
    found = resumed.restore(straight.save())
    for name, part in found.parts.items():
        np.testing.assert_array_equal(part, last.observation.parts[name])
    begun = actions()
    one, other = straight.step(begun), resumed.step(begun)
    np.testing.assert_array_equal(one.rewards, other.rewards)
    np.testing.assert_array_equal(one.terminated, other.terminated)
