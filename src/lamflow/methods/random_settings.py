"""Settings of random actions."""

from __future__ import annotations

from typing import ClassVar, Literal

from lamflow.methods.settings import MethodSettings


class RandomMethodSettings(MethodSettings):
    """Uniformly random actions."""

    builds: ClassVar[str] = "lamflow.methods.random:Random"

    kind: Literal["random"] = "random"
