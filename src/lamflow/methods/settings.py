"""What a method may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from lamflow.policies.method_settings import (
    BcMethodSettings,
    LatentMethodSettings,
    OracleMethodSettings,
    RandomMethodSettings,
    VptMethodSettings,
)
from lamflow.rl.online_settings import OnlineMethodSettings

MethodSettings = Annotated[
    LatentMethodSettings
    | BcMethodSettings
    | VptMethodSettings
    | OracleMethodSettings
    | OnlineMethodSettings
    | RandomMethodSettings,
    Field(discriminator="kind"),
]


def method_settings(settings: Mapping[str, Any]) -> Any:
    """The settings group of a method's dumped settings, by their kind; pydantic's ValidationError when they are none."""
    return TypeAdapter(MethodSettings).validate_python(settings)
