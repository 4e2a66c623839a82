"""Settings of the U-Net."""

from __future__ import annotations

from collections.abc import Iterable
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

    def problems_on(self, spec: EnvironmentSpec) -> Iterable[tuple[str, str]]:
        """Frames that are no squares, too."""
        yield from super().problems_on(spec)
        if self.accepts(spec) and spec.frame_shape[0] != spec.frame_shape[1]:
            height, width, _ = spec.frame_shape
            yield (
                "kind",
                f"unet predicts square frames, and those of {spec.name} have {height}x{width} pixels: set `resize` of the environment",
            )
