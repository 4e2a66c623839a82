"""Settings of the forward dynamics model over vectors."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from lamflow.envs.spec import EnvironmentSpec
from lamflow.networks.settings import TARGET, DynamicsSettings, Target
from lamflow.settings import DEEPEST, WIDEST
from lamflow.spaces import Vector


class MlpDynamicsSettings(DynamicsSettings):
    """A forward dynamics model over vectors of numbers, a multi-layer perceptron."""

    builds: ClassVar[str] = "lamflow.networks.mlp_dynamics:build_mlp_dynamics"

    kind: Literal["mlp"] = "mlp"
    hidden_width: int = Field(128, gt=0, le=WIDEST, description="Width of each hidden layer.")
    layers: int = Field(2, gt=0, le=DEEPEST, description="Hidden layers.")
    target: Target = Field("standardised", description=TARGET)

    @property
    def learns_standardised(self) -> bool:
        """As ``target`` says."""
        return self.target == "standardised"

    @classmethod
    def accepts(cls, spec: EnvironmentSpec) -> bool:
        """Vectors of numbers."""
        return isinstance(spec.main_part, Vector)
