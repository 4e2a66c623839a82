"""Facts of unions some of whose members have no actions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lamflow.envs.presets import preset
from lamflow.envs.spec import EnvironmentSpec
from lamflow.envs.union_facts import describe
from lamflow.envs.union_settings import UnionSettings
from lamflow.spaces import Box, Unknown

LABELLED = preset("procgen-maze")
CLIPS = replace(LABELLED, name="clips", action=Unknown(), action_names=(), action_classes=(), max_steps=10)


def union_of(*members: EnvironmentSpec, played: EnvironmentSpec | None = None) -> EnvironmentSpec:
    others = {spec.name: spec for spec in (*members, *([played] if played else []))}
    settings = UnionSettings.model_validate(
        {
            "members": [spec.name for spec in members],
            "evaluation": {"members": [played.name] if played else []},
        }
    )
    return describe(settings, "both", others)


@pytest.mark.parametrize("members", [(CLIPS, LABELLED), (LABELLED, CLIPS)], ids=["first", "last"])
def test_the_actions_of_a_union_are_those_of_the_members_that_have_some(members: tuple[EnvironmentSpec, ...]) -> None:
    union = union_of(*members)
    assert union.action == LABELLED.action
    assert (union.action_names, union.class_of_action) == (LABELLED.action_names, LABELLED.class_of_action)
    assert EnvironmentSpec.from_facts(union.facts()) == union


def test_a_union_without_any_action_has_none() -> None:
    union = union_of(CLIPS, replace(CLIPS, name="more"), played=LABELLED)
    assert union.action == Unknown()
    assert (union.action_names, union.action_classes) == ((), ())


def test_members_with_actions_must_agree_in_them_whoever_stands_first() -> None:
    other = replace(LABELLED, name="arm", action=Box((-1,), (1,)), action_names=(), action_classes=())
    message = (
        r"members: procgen-maze and arm differ in their actions: found discrete count 15 and box low \[-1\] high \[1\]"
    )
    with pytest.raises(ValueError, match=message):
        union_of(CLIPS, LABELLED, other)
    with pytest.raises(ValueError, match=r"evaluation\.members: procgen-maze and arm differ in their actions"):
        union_of(CLIPS, LABELLED, played=other)


def test_frames_of_members_without_actions_must_be_equal_too() -> None:
    with pytest.raises(
        ValueError, match=r"members: clips and xland-doorkey-5x5 differ in what latent action models see"
    ):
        union_of(CLIPS, preset("xland-doorkey-5x5"))
