"""Settings of a continuous latent."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from lamflow.quantizers.settings import QuantizerSettings
from lamflow.settings import DEEPEST, WIDEST


class NoneSettings(QuantizerSettings):
    """No quantiser: a continuous latent, as wide as that of `vq_ema` with the same numbers."""

    builds: ClassVar[str] = "lamflow.quantizers.none:IdentityQuantizer"
    width: ClassVar[str] = "codebooks x tokens x code_dim"
    kind: Literal["none"] = "none"
    codebooks: int = Field(2, gt=0, le=DEEPEST, description="A factor of the latent's width.")
    tokens: int = Field(4, gt=0, le=DEEPEST, description="A factor of the latent's width.")
    code_dim: int = Field(16, gt=0, le=WIDEST, description="A factor of the latent's width.")

    @property
    def latent_dim(self) -> int:
        return self.codebooks * self.tokens * self.code_dim
