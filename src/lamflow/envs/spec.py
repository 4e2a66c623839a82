"""What the rest of lamflow must know about an environment: facts, without its simulator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, Literal, get_args

View = Literal["egocentric", "full", "pixels"]
Demonstrator = Literal["ppo", "planner"]


@dataclass(frozen=True)
class EnvironmentSpec:
    """The facts of an environment; they travel from the configuration to the stages as JSON (``facts``, ``from_facts``).

    ``family``: whose module simulates it (``lamflow.envs.<family>_family``).
    ``frame_shape`` is (H, W, 2) for grids: tile id and colour id, both categories; ``category_sizes`` holds the number of
    categories of each frame channel. It is (64, 64, 3) for pixels (RGB, 0 to 255), which have no categories, no
    proprioception and no task. ``proprioception_sizes`` and ``task_sizes`` hold the number of categories of each
    entry of the proprioceptive vector (direction, carried tile, carried colour) and of the task vector (goal id, tile and
    colour of its first object, tile and colour of its second); the task vector is empty where the task never changes.
    ``action_classes`` lists sets of actions that do the same thing in every state (see docs/environments.md); an action that
    is in none of them is a class of its own.
    """

    name: str
    family: str
    simulator_id: str
    view: View
    frame_shape: tuple[int, int, int]
    category_sizes: tuple[int, ...]
    action_names: tuple[str, ...]
    max_steps: int
    demonstrator: Demonstrator
    proprioception_sizes: tuple[int, ...] = ()
    task_sizes: tuple[int, ...] = ()
    uses_rulesets: bool = False
    final_observations: bool = True
    action_classes: tuple[tuple[int, ...], ...] = ()
    return_bounds: tuple[float, float] | None = None

    @property
    def num_actions(self) -> int:
        return len(self.action_names)

    @property
    def class_of_action(self) -> tuple[int, ...]:
        """For each action the smallest one that does the same thing."""
        smallest = {action: min(same) for same in self.action_classes for action in same}
        return tuple(smallest.get(action, action) for action in range(self.num_actions))

    @property
    def class_names(self) -> tuple[str, ...]:
        """For each action the name of those that do the same: "none" if it is one of them, else the shortest."""
        members: dict[int, list[str]] = {}
        for action, first in enumerate(self.class_of_action):
            members.setdefault(first, []).append(self.action_names[action])
        names = {first: min(found, key=lambda name: (name != "none", len(name))) for first, found in members.items()}
        return tuple(names[first] for first in self.class_of_action)

    def facts(self) -> dict[str, Any]:
        """The facts by their names, as JSON can hold them: what ``from_facts`` takes."""
        return _listed(asdict(self))

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> EnvironmentSpec:
        """The environment that ``facts`` describe. ValueError names the facts that are unknown, missing or none of those there may be."""
        known = {field.name for field in fields(cls)}
        needed = {field.name for field in fields(cls) if field.default is MISSING}
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
        for name, options in (("view", get_args(View)), ("demonstrator", get_args(Demonstrator))):
            if facts[name] not in options:
                raise ValueError(f"environment.{name}: found {facts[name]!r}, expected one of {', '.join(options)}")
        return cls(**{name: _tupled(value) for name, value in facts.items()})


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _listed(part) for name, part in value.items()}
    return [_listed(part) for part in value] if isinstance(value, tuple) else value


def _tupled(value: Any) -> Any:
    return tuple(_tupled(part) for part in value) if isinstance(value, list | tuple) else value
