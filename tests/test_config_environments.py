"""Environments of one's own in a configuration."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from lamflow.experiment.experiment import Experiment
from lamflow.experiment.reading import load_experiment
from lamflow.experiment.targets import Targets

TINY = Path(__file__).parents[1] / "config" / "tiny.yaml"
LATENT = {"lams": {"lapo": {}}, "methods": {"lapo": {"kind": "latent", "lam": "lapo"}}}
CART = {"kind": "gymnasium", "id": "CartPole-v1"}
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
