"""The facts of environments that are found by trying them, once per process."""

from __future__ import annotations

from lamflow.envs.settings import EnvironmentSettings
from lamflow.envs.spec import EnvironmentSpec

RERUNS_NOTHING = "An environment's facts are among the params of the stages that it has."

_FOUND: dict[tuple[str, str], EnvironmentSpec] = {}


def described(settings: EnvironmentSettings, name: str) -> EnvironmentSpec:
    """The environment that these settings describe; ValueError, which begins with the key to change, where it cannot be used."""
    key = (settings.model_dump_json(), name)
    if key not in _FOUND:
        spec: EnvironmentSpec = settings.build(name=name)
        _FOUND[key] = spec
    return _FOUND[key]
