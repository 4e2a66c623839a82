"""Settings of the U-Net."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from lamflow.envs.spec import EnvironmentSpec
from lamflow.networks.settings import DynamicsSettings
from lamflow.settings import DEEPEST


class UnetSettings(DynamicsSettings):
    """The U-Net forward dynamics model over RGB frames."""

    builds: ClassVar[str] = "lamflow.networks.unet:build_unet"

    kind: Literal["unet"] = "unet"
    stem: Literal["conv", "patch"] = Field(
        "conv",
        description="conv: at full resolution (LAPO); patch: on 4x4 patches moved into channels, many times faster.",
    )
    base_width: int = Field(
        24, gt=0, le=DEEPEST, description="Channels of the first block; each deeper one has twice as many."
    )
    predicts: Literal["frame", "change"] = Field(
        "frame", description="frame: the output is the next frame (LAPO); change: it is added to the present frame."
    )

    @classmethod
    def accepts(cls, spec: EnvironmentSpec) -> bool:
        """Pixels."""
        return spec.view == "pixels"
