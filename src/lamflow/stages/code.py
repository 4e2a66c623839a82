"""The code that a job runs: what a stage imports, and the families and components that its environment and settings choose."""

from __future__ import annotations

from functools import cache
from typing import Any

from lamflow.code_digests import Choices, Code
from lamflow.components import components_in
from lamflow.envs.families import module_of
from lamflow.envs.spec import EnvironmentSpec
from lamflow.envs.videos import video_module
from lamflow.rl.demonstrations import demonstrator_module

RERUNS_NOTHING = "It names the code that a digest is of."


@cache
def choices_of(spec: EnvironmentSpec | None) -> Choices:
    """What an environment chooses, whether a stage comes to it or not."""
    if spec is None:
        return frozenset()
    return frozenset(
        {
            ("lamflow.envs.families", module_of(spec)),
            ("lamflow.envs.videos", video_module(spec)),
            ("lamflow.rl.demonstrations", demonstrator_module(spec)),
        }
    )


def stage_code(stage: str, spec: EnvironmentSpec | None = None, settings: Any = None) -> Code:
    """The code of a job of the module ``stage`` in an environment, with the components that ``settings`` name at any depth: a settings
    group, or a mapping or list of them."""
    found = list(components_in(settings))
    named = {component.implementation for component in found} | {type(component).__module__ for component in found}
    return Code(stage, choices_of(spec), frozenset(named))
