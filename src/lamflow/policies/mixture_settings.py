"""Settings of Gaussian mixtures over latents."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from lamflow.policies.settings import HeadSettings
from lamflow.settings import WIDEST


class MixtureSettings(HeadSettings):
    """A Gaussian mixture over the pre-quantisation latent, with diagonal deviations."""

    builds: ClassVar[str] = "lamflow.policies.mixture_head:MixtureHead"

    kind: Literal["mixture"] = "mixture"
    components: int = Field(5, gt=0, le=WIDEST, description="Components; an agent decodes the mean of each.")
