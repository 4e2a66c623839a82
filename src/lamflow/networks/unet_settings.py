"""Settings of the U-Net."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from lamflow.envs.spec import EnvironmentSpec
from lamflow.networks.settings import TARGET, DynamicsSettings, Target
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
    target: Target = Field("frame", description=TARGET)

    @model_validator(mode="before")
    @classmethod
    def _as_it_was_called(cls, given: Any) -> Any:
        """``predicts``, as older configurations and models have it, is ``target``."""
        if not isinstance(given, dict) or "predicts" not in given:
            return given
        if "target" in given:
            raise ValueError("target: found predicts, too, which is its former name: leave predicts out")
        return {("target" if name == "predicts" else name): value for name, value in given.items()}

    @property
    def learns_standardised(self) -> bool:
        """As ``target`` says."""
        return self.target == "standardised"

    @classmethod
    def accepts(cls, spec: EnvironmentSpec) -> bool:
        """Pixels."""
        return spec.view == "pixels"
