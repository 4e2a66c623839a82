"""Facts of environments: they travel as JSON, and those with a name are what their simulators say."""

import json
from typing import Any

import pytest

from lamflow.envs.families import family_of
from lamflow.envs.presets import preset, presets
from lamflow.envs.spec import EnvironmentSpec
from lamflow.envs.xland_views import egocentric_twin


@pytest.mark.parametrize("name", presets())
def test_facts_come_back_from_json_as_they_were(name: str) -> None:
    spec = preset(name)
    again = EnvironmentSpec.from_facts(json.loads(json.dumps(spec.facts())))
    assert again == spec
    assert hash(again) == hash(spec)


@pytest.mark.parametrize("name", [name for name in presets() if name.startswith("xland-")])
def test_the_two_views_of_a_simulator_are_twins(name: str) -> None:
    spec = preset(name)
    assert egocentric_twin(spec) == preset(name.removesuffix("-full"))
    assert family_of(spec).from_above(spec) == preset(name.removesuffix("-full") + "-full")


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ("xland-doorkey-5x5", r"environment: found 'xland-doorkey-5x5', expected facts, such as preset\("),
        ({"name": "mine", "views": "full"}, r"environment: found unknown 'views', no 'action_names', .*no 'view'; expected facts"),
        (preset("xland-doorkey-5x5").facts() | {"view": "above"}, r"environment\.view: found 'above', expected one of egocentric"),
    ],
    ids=["a name", "unknown", "no view"],
)  # fmt: skip
def test_what_describes_no_environment_is_refused(facts: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EnvironmentSpec.from_facts(facts)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown environment 'nowhere'; known: procgen-bigfish"):
        preset("nowhere")
