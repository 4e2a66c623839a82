"""Settings of the network over vectors."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from lamflow.envs.spec import EnvironmentSpec
from lamflow.networks.settings import EncoderSettings
from lamflow.settings import DEEPEST, WIDEST
from lamflow.spaces import Categories, Vector

EXTRAS_WIDTH = 16


class MlpEncoderSettings(EncoderSettings):
    """A multi-layer perceptron over vectors, which are standardised by the train split."""

    builds: ClassVar[str] = "lamflow.networks.mlp_encoder:build_mlp_encoder"
    float32_when_used: ClassVar[str] = "over vectors"

    kind: Literal["mlp"] = "mlp"
    hidden_width: int = Field(128, gt=0, le=WIDEST, description="Width of each hidden layer.")
    layers: int = Field(2, gt=0, le=DEEPEST, description="Hidden layers.")

    @property
    def extras_width(self) -> int:
        """That of a category among the inputs."""
        return EXTRAS_WIDTH

    @classmethod
    def accepts(cls, spec: EnvironmentSpec) -> bool:
        """Vectors of numbers or of categories."""
        part = spec.main_part
        return isinstance(part, Vector) or (isinstance(part, Categories) and len(part.shape) == 1)
