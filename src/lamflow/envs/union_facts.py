"""What a union of environments is to learners: what all of its members have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lamflow.envs.spec import EnvironmentSpec
from lamflow.envs.union_settings import UnionSettings
from lamflow.spaces import ActionSpace, Part, Unknown, to_facts

RERUNS_NOTHING = "An environment's facts are among the params of the stages that it has."

UNION = "union"


def describe(settings: UnionSettings, name: str, others: Mapping[str, EnvironmentSpec]) -> EnvironmentSpec:
    """The facts of the union; ``others``: those of all that it names. ValueError names the two that differ, and in what.

    Its actions are those of the members that have some: episodes without actions may stand beside others with theirs. Its observations
    have the part that latent action models see, by the name that it has in the first member, and the other parts that all
    members have, and the environments in which its agents play: ``own`` says which are left out. Actions do the same thing where they do it
    in each of the members. All else is the members' alone: what learns need not do it again where agents play elsewhere.
    """
    first, *further = (others[member] for member in settings.made_of)
    played = [others[member] for member in settings.played_in if member not in settings.made_of]
    members = [first, *further]
    acting = [spec for spec in members if not isinstance(spec.action, Unknown)]
    for key, others_named in (("members", further), ("evaluation.members", played)):
        for spec in others_named:
            _check_frames(first, spec, key)
            if acting and not isinstance(spec.action, Unknown):
                _check_actions(acting[0], spec, key)
    every = [*members, *played]
    parts = {first.main: first.main_part, **_shared_parts(every)}
    found = {part for spec in every for part in spec.observation if part != spec.main}
    return EnvironmentSpec(
        name=name,
        family=UNION,
        observation=parts,
        action=acting[0].action if acting else first.action,
        main=first.main,
        max_steps=max(spec.max_steps for spec in members),
        final_observations=all(spec.final_observations for spec in members),
        action_names=_names(acting),
        action_classes=_classes(acting),
        own={
            "members": list(settings.made_of),
            "view": first.view,
            "demonstrator": UNION,
            "left_out": sorted(found - set(parts)),
        },
    )


def _check_frames(first: EnvironmentSpec, other: EnvironmentSpec, key: str) -> None:
    seen = [f"{_said(spec.main_part)} ({spec.view})" for spec in (first, other)]
    if seen[0] != seen[1]:
        raise ValueError(f"{key}: {_difference(first, other, 'what latent action models see', *seen)}")


def _check_actions(first: EnvironmentSpec, other: EnvironmentSpec, key: str) -> None:
    if first.action != other.action:
        differ = _difference(first, other, "their actions", _said(first.action), _said(other.action))
        raise ValueError(f"{key}: {differ}")


def _difference(first: EnvironmentSpec, other: EnvironmentSpec, what: str, one: str, two: str) -> str:
    return (
        f"{first.name} and {other.name} differ in {what}: found {one} and {two}, expected the same; take environments that agree in it, or "
        "make them agree by wrappers"
    )


def _said(space: Part | ActionSpace) -> str:
    facts = to_facts(space)
    return " ".join([str(facts.pop("kind")), *(f"{name} {value}" for name, value in facts.items())])


def _shared_parts(every: Sequence[EnvironmentSpec]) -> dict[str, Part]:
    """Beside the main ones, those that all have, with equal spaces."""
    first = every[0]
    return {
        name: part
        for name, part in first.observation.items()
        if name != first.main and all(name != spec.main and spec.observation.get(name) == part for spec in every)
    }


def _names(members: Sequence[EnvironmentSpec]) -> tuple[str, ...]:
    """Of actions; where members differ, each of the names."""
    named = [spec.action_names for spec in members if spec.action_names]
    if not named or len(named) < len(members):
        return ()
    return tuple(" / ".join(dict.fromkeys(names)) for names in zip(*named, strict=True))


def _classes(members: Sequence[EnvironmentSpec]) -> tuple[tuple[int, ...], ...]:
    """The sets of actions that do the same thing in each of the members."""
    if not members or not all(spec.action_classes for spec in members):
        return ()
    same: dict[tuple[int, ...], list[int]] = {}
    for action, classes in enumerate(zip(*(spec.class_of_action for spec in members), strict=True)):
        same.setdefault(classes, []).append(action)
    return tuple(tuple(actions) for actions in same.values() if len(actions) > 1)
