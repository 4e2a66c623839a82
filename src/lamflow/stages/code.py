"""The code that a job runs: what a stage imports, and the families and components that its environment and settings choose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from lamflow.code_digests import Choices, Code, source_of
from lamflow.components import components_in
from lamflow.envs.families import module_of
from lamflow.envs.spec import EnvironmentSpec
from lamflow.envs.videos import video_module
from lamflow.methods.settings import MethodSettings, Stage
from lamflow.rl.demonstrations import demonstrator_module
from lamflow.settings import Settings

RERUNS_NOTHING = "It names the code that a digest is of."


@cache
def choices_of(spec: EnvironmentSpec | None) -> Choices:
    """What an environment chooses, whether a stage comes to it or not; of other people's code the modules that its facts name. Nothing
    where it is made of others."""
    if spec is None:
        return frozenset()
    if spec.members:
        return frozenset(
            (f"lamflow.{registry}", None) for registry in ("envs.families", "envs.videos", "rl.demonstrations")
        )
    theirs = [module for module in spec.own.get("modules", ()) if source_of(module)]
    demonstrator = demonstrator_module(spec)
    return frozenset(
        {
            ("lamflow.envs.families", module_of(spec)),
            *(("lamflow.envs.families", module) for module in theirs),
            ("lamflow.envs.videos", video_module(spec)),
            ("lamflow.rl.demonstrations", demonstrator if source_of(demonstrator) else None),
        }
    )


def methods_code(
    stage: str,
    methods: Sequence[MethodSettings],
    part: Stage,
    spec: EnvironmentSpec | Iterable[EnvironmentSpec] | None = None,
    also: Sequence[Settings | Mapping[str, Any]] = (),
) -> Code:
    """The code of a job in which methods learn or act: of what they do there, and of the components in the settings that they read, and
    in ``also``."""
    found = stage_code(stage, spec, [*(method.parts(part) for method in methods), *also])
    own = {module for method in methods for module in (method.code_in(part), type(method).__module__)}
    return replace(found, components=found.components | own)


def method_code(stage: str, method: MethodSettings, part: Stage, *more: Any) -> Code:
    """``methods_code`` of one method."""
    return methods_code(stage, [method], part, *more)


def stage_code(
    stage: str, spec: EnvironmentSpec | Iterable[EnvironmentSpec] | None = None, settings: Any = None
) -> Code:
    """The code of a job of the module ``stage`` in an environment, or in several, with the components that ``settings`` name at any depth:
    a settings group, or a mapping or list of them."""
    found = list(components_in(settings))
    named = {component.implementation for component in found} | {type(component).__module__ for component in found}
    specs = [spec] if spec is None or isinstance(spec, EnvironmentSpec) else list(spec)
    return Code(stage, frozenset().union(*map(choices_of, specs)), frozenset(named))
