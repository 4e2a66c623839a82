"""Environments of one's own in a configuration."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from lamflow.envs.gymnasium_settings import GymnasiumSettings
from lamflow.experiment.experiment import Experiment
from lamflow.experiment.reading import load_experiment
from lamflow.experiment.targets import Targets
from lamflow.methods.online_settings import OnlineMethodSettings
from lamflow.policies.dictionary_decoder_settings import DictionaryDecoderSettings
from lamflow.settings import Settings

TINY = Path(__file__).parents[1] / "config" / "tiny.yaml"
LATENT = {"lams": {"lapo": {}}, "methods": {"lapo": {"kind": "latent", "lam": "lapo"}}}
CART = {"kind": "gymnasium", "id": "CartPole-v1"}
SWING = {"kind": "gymnasium", "id": "Pendulum-v1"}
RACE = {"kind": "gymnasium", "id": "smooth:Race-v0"}
CLONING = {"kind": "bc", "policy": {"network": {"kind": "mlp"}}}
DICE = """
import random
import gymnasium

class Dice(gymnasium.Env):
    action_space = observation_space = gymnasium.spaces.Discrete(6)

    def reset(self, *, seed=None, options=None):
        return random.randrange(6), {}

    def step(self, action):
        return random.randrange(6), 0.0, False, False, {}

gymnasium.register("Dice-v0", Dice, max_episode_steps=9)
"""


SMOOTH = """
import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict

class Race(gymnasium.Env):
    action_space = Box(-1, 1, (2,))

    def __init__(self, shown):
        picture, pose = Box(0, 255, (40, 40, 3), np.uint8), Box(-1, 1, (2,))
        self.observation_space = {"picture": picture, "both": Dict({"picture": picture, "pose": pose})}[shown]

    def reset(self, *, seed=None, options=None):
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, False, {}

gymnasium.register("Race-v0", Race, max_episode_steps=9)
"""


def experiment(*envs: Any, **changes: Any) -> Experiment:
    """Random actions alone, which need no network that sees the environment."""
    raw = {"experiment": "mine", "envs": list(envs), "seeds": [0], "methods": {"random": {"kind": "random"}}}
    return load_experiment({**raw, **changes})


def test_an_environment_stands_in_its_place_or_under_its_name() -> None:
    for found in (
        experiment("xland-doorkey-5x5", {"cart": CART}),
        experiment("xland-doorkey-5x5", "cart", environments={"cart": CART}),
    ):
        assert found.envs == ("xland-doorkey-5x5", "cart")
        assert found.environment("cart").max_steps == 500
        assert found.environment("cart").own["id"] == "CartPole-v1"
    again = load_experiment(found.model_dump(mode="json"))
    assert again.environment("cart") == found.environment("cart")


@pytest.mark.parametrize(
    ("envs", "changes", "message"),
    [
        ([{"cart": {"kind": "gymnasium"}}], {}, r"environments\.cart\.id: missing"),
        ([{"cart": {**CART, "wheels": 4}}], {}, r"environments\.cart\.wheels: unknown key; known here: kind, id"),
        ([{"cart": CART | {"id": "Cart-v9"}}], {}, r"environments\.cart\.id: found 'Cart-v9', which Gymnasium does not know"),
        ([{"xland-doorkey-5x5": CART}], {}, "xland-doorkey-5x5 is an environment of lamflow: give yours another name"),
        ([{"cart": CART}, {"cart": CART}], {}, "envs: 'cart' is defined twice"),
        ([{"cart": CART}, "kart"], {}, "envs: unknown environment 'kart'"),
        (["cart"], {"environments": {"cart": CART | {"demonstrator": {"kind": "policy", "path": "no colon"}}}}, r"demonstrator\.path"),
        ([{"cart": CART}], LATENT, r"lams\.lapo.*kind: found grid, and the frames of cart need"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_one_is_said_by_its_key(envs: list[Any], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        experiment(*envs, **changes)


def test_methods_over_vectors_with_continuous_actions_fit() -> None:
    found = experiment(
        {"swing": SWING},
        methods={"bc": CLONING, "vpt": {**CLONING, "kind": "vpt", "inverse_dynamics": {"kind": "mlp"}}},
    )
    assert found.vector_expert.total_steps == 1_000_000
    assert found.methods_of("swing") == ("bc", "vpt")


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({"kind": "bc"}, r"methods\.it\.policy\.network\.kind: found grid, and the frames of swing need mlp"),
        (
            {**CLONING, "kind": "vpt", "inverse_dynamics": {"kind": "mlp"}, "decoder": {"label_smoothing": 0.1}},
            r"methods\.it\.decoder\.label_smoothing: spreads over discrete actions, and those of swing are continuous",
        ),
    ],
)  # fmt: skip
def test_what_does_not_suit_vectors_and_continuous_actions_is_refused(method: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        experiment({"swing": SWING}, methods={"it": method})


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (DictionaryDecoderSettings(), "a dictionary counts discrete actions, and those of swing are continuous: take kind: mlp"),
        (OnlineMethodSettings(of="lapo"), "online decoding takes discrete actions, and those of swing are continuous"),
    ],
)  # fmt: skip
def test_what_counts_actions_says_that_it_cannot_count_continuous_ones(settings: Settings, expected: str) -> None:
    (problem,) = settings.problems_on(GymnasiumSettings.model_validate(SWING).build(name="swing"))
    assert problem[0] == "kind" and problem[1].startswith(expected)
    assert not list(settings.problems_on(GymnasiumSettings.model_validate(CART).build(name="cart")))


@pytest.mark.parametrize(
    ("shown", "main", "message"),
    [
        ("picture", None, r"environments\.race\.demonstrator: PPO over pictures takes discrete actions, and these are continuous"),
        ("both", "pose", r"environments\.race\.demonstrator: PPO over vectors cannot see the part 'picture' of shape \[40, 40, 3\]"),
    ],
)  # fmt: skip
def test_what_ppo_cannot_demonstrate_is_refused_before_any_work(
    shown: str, main: str | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.joinpath("smooth.py").write_text(SMOOTH)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=message):
        experiment({"race": {**RACE, "kwargs": {"shown": shown}, "main": main}})


def test_what_cannot_be_drawn_has_no_film() -> None:
    results = Targets(experiment("xland-doorkey-5x5", {"cart": CART})).final_results()
    assert "results/mine/plots/xland-doorkey-5x5/episode_film.gif" in results
    assert not any("cart/episode_film" in path for path in results)


def test_an_environment_that_chance_plays_in_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.joinpath("dice.py").write_text(DICE)
    monkeypatch.syspath_prepend(tmp_path)
    (warning,) = experiment({"cart": CART}, {"dice": {"kind": "gymnasium", "id": "dice:Dice-v0"}}).warnings()
    assert warning.startswith(
        "dice: two episodes with the same seed and actions differed, so evaluations and films cannot be"
    )


def test_the_tiny_configuration_defines_none() -> None:
    assert load_experiment(yaml.safe_load(TINY.read_text())).environments == {}


PENDULUM = {"kind": "gymnasium", "id": "Pendulum-v1"}
MLP = {"inverse_dynamics": {"kind": "mlp"}, "forward_dynamics": {"kind": "mlp"}}


@pytest.mark.parametrize("env", [CART, PENDULUM], ids=["cart", "pendulum"])
def test_a_latent_action_model_of_vectors_has_the_figures_that_can_be_made(env: dict[str, Any]) -> None:
    """Of vectors none that draws predictions, and of continuous actions none that counts them."""
    raw = {
        "lams": {"lapo": MLP},
        "methods": {"lapo": {"kind": "latent", "lam": "lapo", "policy": {"network": MLP["inverse_dynamics"]}}},
    }
    found = Targets(experiment({"mine": env}, **raw)).final_results()
    assert [path for path in found if path.endswith("latent_space.svg")]
    assert not [path for path in found if path.endswith(("film_strip.png", "episode_film.gif"))]
    assert bool([path for path in found if path.endswith("code_actions.svg")]) == (env is CART)


@pytest.mark.parametrize("key", MLP)
def test_networks_over_grids_are_refused_for_vectors(key: str) -> None:
    raw = {"lams": {"lapo": {**MLP, key: {"kind": "grid"}}}, "methods": LATENT["methods"]}
    with pytest.raises(ValueError, match=rf"lams\.lapo\.{key}\.kind: found grid, and the frames of mine need mlp"):
        experiment({"mine": CART}, **raw)
