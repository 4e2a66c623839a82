"""Facts of environments: they travel as JSON, and those with a name are what their simulators say."""

import copy
import json
import pickle
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest

from lamflow.envs.families import family_of
from lamflow.envs.gymnasium_spaces import space_of
from lamflow.envs.presets import preset, presets
from lamflow.envs.spec import EnvironmentSpec
from lamflow.envs.xland_views import egocentric_twin
from lamflow.spaces import Box, Unknown

FACTS = preset("xland-doorkey-5x5").facts()


@pytest.mark.parametrize("name", presets())
def test_facts_come_back_from_json_as_they_were(name: str) -> None:
    spec = preset(name)
    again = EnvironmentSpec.from_facts(json.loads(json.dumps(spec.facts())))
    assert again == spec
    assert hash(again) == hash(spec)


def test_facts_without_an_action_space_come_back_as_they_were() -> None:
    spec = replace(preset("xland-doorkey-5x5"), action=Unknown(), action_names=(), action_classes=())
    assert spec.facts()["action"] == {"kind": "unknown"}
    assert EnvironmentSpec.from_facts(json.loads(json.dumps(spec.facts()))) == spec


@pytest.mark.parametrize("name", [name for name in presets() if name.startswith("xland-")])
def test_the_two_views_of_a_simulator_are_twins(name: str) -> None:
    spec = preset(name)
    assert egocentric_twin(spec) == preset(name.removesuffix("-full"))
    assert family_of(spec).from_above(spec) == preset(name.removesuffix("-full") + "-full")


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ("xland-doorkey-5x5", r"environment: found 'xland-doorkey-5x5', expected facts, such as preset\("),
        ({"name": "mine", "views": "full"}, r"environment: found unknown 'views', no 'action', .*no 'observation'; expected facts"),
        (FACTS | {"main": "sound"}, r"environment\.main: found 'sound', expected one of the parts frames, proprioception"),
        (FACTS | {"own": 3}, r"environment\.own: found 3, expected a mapping"),
        (FACTS | {"action": {"kind": "keys"}}, r"environment\.action: found .*expected a mapping whose kind is one of discrete, box"),
        (FACTS | {"observation": {"frames": {"kind": "box"}}}, r"environment\.observation\.frames: found .*one of pixels, categories"),
        (FACTS | {"observation": {"frames": {"kind": "pixels"}}}, r"observation\.frames: found .*is no space of kind pixels: .*'shape'"),
    ],
    ids=["a name", "unknown", "no such part", "no mapping", "no such action", "an action", "half a space"],
)  # fmt: skip
def test_what_describes_no_environment_is_refused(facts: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EnvironmentSpec.from_facts(facts)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown environment 'nowhere'; known: procgen-bigfish"):
        preset("nowhere")


def test_facts_are_those_of_gymnasiums_spaces() -> None:
    spaces = {name: space_of(part) for name, part in preset("xland-r1-9x9-full").observation.items()}
    assert {name: space.shape for name, space in spaces.items()} == {
        "frames": (9, 9, 2),
        "proprioception": (3,),
        "task": (5,),
    }
    assert spaces["task"].nvec[0] == 15 and spaces["frames"].nvec[3, 4].tolist() == [17, 12]
    assert space_of(preset("procgen-maze").main_part) == gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)
    assert space_of(preset("procgen-maze").action).n == 15
    assert space_of(Box((-1.0, 0.0), (1.0, 2.0))) == gymnasium.spaces.Box(
        np.array([-1, 0], np.float32), np.array([1, 2], np.float32)
    )


def test_facts_do_not_change_and_can_be_copied_and_sent() -> None:
    spec = preset("xland-r1-9x9")
    with pytest.raises(TypeError, match=r"do not change; make another spec by dataclasses\.replace"):
        spec.own["view"] = "full"  # type: ignore[index]
    for again in (copy.deepcopy(spec), pickle.loads(pickle.dumps(spec))):
        assert again == spec and hash(again) == hash(spec)
