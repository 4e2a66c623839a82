"""Environments of one's own in a configuration."""

from itertools import product
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


UNION = {"kind": "union", "members": ["xland-doorkey-5x5", "xland-empty-random-8x8"]}


def test_a_union_is_what_its_members_have_in_common() -> None:
    found = experiment({"two": {**UNION, "shares": [1, 3]}})
    spec = found.environment("two")
    assert spec.members == ("xland-doorkey-5x5", "xland-empty-random-8x8")
    assert (spec.view, spec.max_steps, list(spec.observation)) == ("egocentric", 256, ["frames", "proprioception"])
    assert found.shares_of("two") == (0.25, 0.75)
    assert found.simulated_envs == spec.members
    assert found.stores_behind("two", "train") == found.stores_behind("two", "test") == spec.members
    assert spec == type(spec).from_facts(spec.facts())
    assert load_experiment(found.model_dump(mode="json")).environment("two") == spec


@pytest.mark.parametrize(
    ("shares", "members", "expected"),
    [("equal", 2, (0.5, 0.5)), ("by size", 2, None), ([0, 2], 1, (1.0,)), ([1, 1], 2, (0.5, 0.5))],
)
def test_a_share_of_nothing_leaves_a_member_out(shares: Any, members: int, expected: tuple[float, ...] | None) -> None:
    found = experiment({"two": {**UNION, "shares": shares}})
    assert len(found.environment("two").members) == len(found.simulated_envs) == members
    assert found.shares_of("two") == expected


def test_a_union_may_play_where_it_has_not_learnt() -> None:
    games = [f"procgen-{game}" for game in ("maze", "heist", "miner")]
    evaluation = {"members": ["procgen-ninja", "procgen-maze"]}
    found = experiment({"three": {"kind": "union", "members": games, "evaluation": evaluation}})
    assert found.stores_behind("three", "train") == tuple(games)
    assert found.stores_behind("three", "test") == ("procgen-ninja", "procgen-maze")
    assert found.simulated_envs == (*games, "procgen-ninja")
    spec = found.environment("three")
    classes = [found.environment(env).class_of_action for env in games]
    for one, other in product(range(15), repeat=2):
        alike = all(of_action[one] == of_action[other] for of_action in classes)
        assert (spec.class_of_action[one] == spec.class_of_action[other]) == alike


@pytest.mark.parametrize(
    ("union", "changes", "message"),
    [
        ({"members": ["xland-doorkey-5x5", "procgen-maze"]}, {}, r"two\.members: xland-doorkey-5x5 and procgen-maze differ in what .*"),
        ({"members": ["xland-doorkey-5x5", "xland-doorkey-5x5-full"]}, {}, r"differ in what .*\(egocentric\) and categories .*\(full\)"),
        ({"evaluation": {"members": ["procgen-maze"]}}, {}, r"two\.evaluation\.members: xland-doorkey-5x5 and procgen-maze differ"),
        ({"members": ["xland-doorkey-5x5", "atari"]}, {}, r"environments\.two: unknown environment 'atari'; known: .*procgen-bigfish"),
        ({"members": ["one"]}, {"environments": {"one": UNION}}, r"found 'one' among its members, which is made of others itself"),
        ({"shares": [1]}, {}, r"two.*shares: found 1, expected 2: one for each of xland-doorkey-5x5, xland-empty"),
        ({"shares": [0, 0]}, {}, r"two.*shares: found nothing but 0"),
        ({"shares": [1, -1]}, {}, r"environments\.two.*shares"),
        ({"members": ["procgen-maze"] * 2}, {}, r"two.*members: procgen-maze is listed twice"),
        ({"kind": "onion"}, {}, r"environments\.two.*kind"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_union_is_said_by_its_key(
    union: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        experiment({"two": UNION | union}, **changes)


def test_members_with_other_actions_are_refused() -> None:
    carts = {name: {**CART, "id": name} for name in ("CartPole-v1", "Acrobot-v1")}
    wrong = {"kind": "union", "members": ["cart", "other"]}
    with pytest.raises(ValueError, match="cart and other differ in what latent action models see"):
        experiment({"two": wrong}, environments={"cart": carts["CartPole-v1"], "other": carts["Acrobot-v1"]})


def test_agents_play_in_no_union_while_they_are_trained() -> None:
    with pytest.raises(ValueError, match=r"evaluation\.during_training: found 3, and two is made of others"):
        experiment({"two": UNION}, evaluation={"during_training": 3})


def test_a_policy_may_have_the_episodes_of_all_members() -> None:
    def asked(episodes: int) -> dict[str, Any]:
        oracle = {"kind": "oracle_bc", "policy": {"episodes": episodes}}
        return {"methods": {"oracle_bc": oracle}, "collection": {"train_episodes": 3}, "labels": [1]}

    assert experiment({"two": UNION}, **asked(6))
    with pytest.raises(
        ValueError, match=r"methods\.oracle_bc\.policy\.episodes: found 7, expected at most the 6 episodes .* of two"
    ):
        experiment({"two": UNION}, **asked(7))


def test_what_learns_online_learns_in_no_union() -> None:
    methods = {**LATENT["methods"], "tuned": {"kind": "online", "of": "lapo"}}
    changes = {**LATENT, "methods": methods}
    with pytest.raises(
        ValueError, match=r"methods\.tuned\.kind: found online, which plays one environment, and two is"
    ):
        experiment({"two": UNION}, **changes)
    assert experiment({"two": UNION}, "xland-doorkey-5x5", **changes, only={"tuned": ["xland-doorkey-5x5"]})


def test_parts_that_not_all_members_have_are_warned_of() -> None:
    members = ["xland-r1-9x9", "xland-doorkey-5x5"]
    (warning,) = experiment({"two": {"kind": "union", "members": members}}).warnings()
    assert warning.startswith("two: its policies do not see task, which not all")


def test_labels_are_counted_over_all_members() -> None:
    few = {"collection": {"train_episodes": 3}}
    assert experiment({"two": UNION}, **few, labels=["6 trajectories"])
    with pytest.raises(ValueError, match="labels: 7 trajectories exceeds the train split of two: 6 episodes"):
        experiment({"two": UNION}, **few, labels=["7 trajectories"])
    with pytest.raises(
        ValueError, match=r"labels: 5 trajectories exceeds what xland-empty.* share of 0\.9: 3 episodes, at"
    ):
        experiment({"two": {**UNION, "shares": [1, 9]}}, **few, labels=["5 trajectories"])
