"""The environments that have a name, of all families: ``PRESETS`` of ``lamflow.envs.<family>_presets``, found by name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from lamflow.envs.spec import EnvironmentSpec

RERUNS_NOTHING = "An environment's facts are among the params of the stages that it has."


@cache
def presets() -> Mapping[str, EnvironmentSpec]:
    """The environments by name, families in the order of theirs. No simulator is imported."""
    room = __name__.rpartition(".")[0]
    names = sorted(found.name for found in iter_modules(import_module(room).__path__))
    families = [import_module(f"{room}.{name}").PRESETS for name in names if name.endswith("_presets")]
    return {spec.name: spec for family in families for spec in family}


def preset(name: str) -> EnvironmentSpec:
    """The environment of this name; ValueError names what is known when ``name`` is not."""
    if name not in presets():
        raise ValueError(f"unknown environment {name!r}; known: {', '.join(sorted(presets()))}")
    return presets()[name]
