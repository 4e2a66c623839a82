"""Settings of the IMPALA network."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from lamflow.envs.spec import EnvironmentSpec
from lamflow.networks.settings import EncoderSettings
from lamflow.settings import DEEPEST, WIDEST, Width

EXTRAS_WIDTH = 16


class ImpalaSettings(EncoderSettings):
    """The IMPALA network over RGB frames."""

    builds: ClassVar[str] = "lamflow.networks.impala_encoder:build_impala_encoder"

    kind: Literal["impala"] = "impala"
    stem: Literal["conv", "patch"] = Field(
        "conv",
        description="conv: 3x3 convolution at full resolution and max-pool (LAPO); patch: an 8x8 convolution of stride 4, "
        "several times faster.",
    )
    channels: tuple[Width, ...] = Field(
        (16, 32, 32), min_length=1, max_length=DEEPEST, description="Channels of each sequence, before `scale`."
    )
    scale: int = Field(1, gt=0, le=DEEPEST, description="Factor on all channels; LAPO's networks have 4.")
    blocks: int = Field(2, ge=0, le=DEEPEST, description="Residual blocks per sequence.")
    hidden_width: int = Field(256, gt=0, le=WIDEST, description="Width of the hidden layer.")

    @property
    def extras_width(self) -> int:
        """That of a category among inputs beside the frames."""
        return EXTRAS_WIDTH

    @classmethod
    def accepts(cls, spec: EnvironmentSpec) -> bool:
        """Pixels."""
        return spec.view == "pixels"
