"""What the rest of lamflow must know about an environment: facts, without its simulator."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, NoReturn

from lamflow.spaces import ACTION_KINDS, PART_KINDS, ActionSpace, Categories, Discrete, Part, from_facts, to_facts

FRAMES = "frames"
"""The part of an observation that latent action models see, where an environment does not name another."""


class Facts(dict[str, Any]):
    """A mapping that does not change, so that it can be hashed."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(json.dumps(self, sort_keys=True, default=repr))

    def __reduce__(self) -> tuple[type[Facts], tuple[dict[str, Any]]]:
        return Facts, (dict(self),)

    def __setitem__(self, key: str, value: Any) -> NoReturn:
        raise TypeError("facts of an environment do not change; make another spec by dataclasses.replace")


@dataclass(frozen=True)
class EnvironmentSpec:
    """The facts of an environment; they travel from the configuration to the stages as JSON (``facts``, ``from_facts``).

    ``family``: whose module simulates it (``lamflow.envs.<family>_family``), and ``own``: what that family must know, as JSON can hold it.
    ``observation``: the parts of an observation by name. Latent action models see the part ``main``; policies see all.
    ``max_steps``: the most steps of an episode. ``final_observations``: whether the last observation of an episode can be had.
    ``action_names``: of discrete actions. ``action_classes`` lists sets of actions that do the same thing in every state (see
    docs/environments.md); an action that is in none of them is a class of its own. ``return_bounds``: published ones (min, max).
    """

    name: str
    family: str
    observation: Mapping[str, Part]
    action: ActionSpace
    max_steps: int
    main: str = FRAMES
    own: Mapping[str, Any] = field(default_factory=Facts)
    final_observations: bool = True
    action_names: tuple[str, ...] = ()
    action_classes: tuple[tuple[int, ...], ...] = ()
    return_bounds: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for name in ("observation", "own"):
            object.__setattr__(self, name, Facts(getattr(self, name)))
        if self.main not in self.observation:
            raise ValueError(
                f"environment.main: found {self.main!r}, expected one of the parts {', '.join(self.observation) or 'of an observation'}"
            )

    @property
    def main_part(self) -> Part:
        """What latent action models see."""
        return self.observation[self.main]

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Of the main part."""
        return self.main_part.shape

    @property
    def category_sizes(self) -> tuple[int, ...]:
        """How many categories each channel of the main part has; none where it has no categories."""
        return self._sizes_of(self.main)

    @property
    def proprioception_sizes(self) -> tuple[int, ...]:
        """How many categories each entry of the part ``proprioception`` has; none without it."""
        return self._sizes_of("proprioception")

    @property
    def task_sizes(self) -> tuple[int, ...]:
        """How many categories each entry of the part ``task`` has; none where the task never changes."""
        return self._sizes_of("task")

    def _sizes_of(self, name: str) -> tuple[int, ...]:
        part = self.observation.get(name)
        return part.sizes if isinstance(part, Categories) else ()

    @property
    def simulator_id(self) -> str:
        """What its family calls it."""
        return str(self.own.get("simulator_id", self.name))

    @property
    def view(self) -> str:
        """What the main part shows: ``egocentric`` or ``full`` of a grid world, else what it is made of."""
        return str(self.own.get("view", self.main_part.kind))

    @property
    def is_grid_world(self) -> bool:
        """Whether it shows a grid world of XLand, whose parts ``proprioception`` and ``task`` have a meaning of their own."""
        return self.view in ("egocentric", "full")

    @property
    def demonstrator(self) -> str:
        """Who shows what is to be done."""
        return str(self.own.get("demonstrator", "ppo"))

    @property
    def uses_rulesets(self) -> bool:
        """Whether levels differ by their task."""
        return bool(self.own.get("uses_rulesets", False))

    @property
    def members(self) -> tuple[str, ...]:
        """The names of the environments that it is made of; none where a simulator plays it."""
        return tuple(self.own.get("members", ()))

    @property
    def num_actions(self) -> int:
        """Of discrete actions."""
        assert isinstance(self.action, Discrete), f"{self.name}: its actions cannot be counted"
        return self.action.count

    @property
    def class_of_action(self) -> tuple[int, ...]:
        """For each action the smallest one that does the same thing."""
        smallest = {action: min(same) for same in self.action_classes for action in same}
        return tuple(smallest.get(action, action) for action in range(self.num_actions))

    @property
    def class_names(self) -> tuple[str, ...]:
        """For each action the name of those that do the same: "none" if it is one of them, else the shortest. Numbers where actions have no
        names."""
        members: dict[int, list[str]] = {}
        named = self.action_names or tuple(map(str, range(self.num_actions)))
        for action, first in enumerate(self.class_of_action):
            members.setdefault(first, []).append(named[action])
        names = {first: min(found, key=lambda name: (name != "none", len(name))) for first, found in members.items()}
        return tuple(names[first] for first in self.class_of_action)

    def facts(self) -> dict[str, Any]:
        """The facts by their names, as JSON can hold them: what ``from_facts`` takes."""
        values = {found.name: _listed(getattr(self, found.name)) for found in fields(self)}
        observation = {name: to_facts(part) for name, part in self.observation.items()}
        return {**values, "observation": observation, "action": to_facts(self.action)}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> EnvironmentSpec:
        """The environment that ``facts`` describe. ValueError names the facts that are unknown, missing or none of those there may be."""
        known = {field.name for field in fields(cls)}
        needed = {field.name for field in fields(cls) if field.default is MISSING and field.default_factory is MISSING}
        if not isinstance(facts, Mapping):
            raise ValueError(
                f"environment: found {facts!r}, expected facts, such as preset('xland-doorkey-6x6-full').facts() has them; preset is in "
                "lamflow.envs.presets"
            )
        wrong = [f"unknown {name!r}" for name in facts if name not in known] + [
            f"no {name!r}" for name in sorted(needed - set(facts))
        ]
        if wrong:
            raise ValueError(
                f"environment: found {', '.join(wrong)}; expected facts with the names {', '.join(sorted(known))}"
            )
        for name in ("observation", "own"):
            if not isinstance(facts.get(name, {}), Mapping):
                raise ValueError(f"environment.{name}: found {facts[name]!r}, expected a mapping")
        observation = {
            name: from_facts(part, f"environment.observation.{name}", PART_KINDS)
            for name, part in facts["observation"].items()
        }
        action = from_facts(facts["action"], "environment.action", ACTION_KINDS)
        values = {name: value if name == "own" else _tupled(value) for name, value in facts.items()}
        return cls(**{**values, "observation": observation, "action": action})


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _listed(part) for name, part in value.items()}
    return [_listed(part) for part in value] if isinstance(value, tuple | list) else value


def _tupled(value: Any) -> Any:
    return tuple(_tupled(part) for part in value) if isinstance(value, list | tuple) else value
