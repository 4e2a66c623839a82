"""What a method may be."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

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
