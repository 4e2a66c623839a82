"""Settings of vector quantisation with moving averages."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from lamflow.quantizers.settings import QuantizerSettings
from lamflow.settings import DEEPEST, SMALLEST, WIDEST


class VqEmaSettings(QuantizerSettings):
    """Vector quantisation with exponential moving averages (VQ-EMA), as in LAPO."""

    builds: ClassVar[str] = "lamflow.quantizers.vq_ema:VectorQuantizerEma"
    width: ClassVar[str] = "codebooks x tokens x code_dim"
    kind: Literal["vq_ema"] = "vq_ema"
    codebooks: int = Field(2, gt=0, le=DEEPEST, description="Codebooks.")
    tokens: int = Field(4, gt=0, le=DEEPEST, description="Discrete tokens per codebook.")
    code_dim: int = Field(
        16, gt=0, le=WIDEST, description="Width of a code; the latent has codebooks x tokens x code_dim entries."
    )
    codes: int = Field(64, gt=1, le=WIDEST, description="Codes per codebook.")
    decay: float = Field(0.999, gt=0, lt=1, description="Decay of the moving averages.")
    commitment_weight: float = Field(0.05, ge=0, description="Weight of the commitment loss.")
    epsilon: float = Field(1e-5, ge=SMALLEST, description="Laplace smoothing of the cluster sizes.")
    ema_counts: Literal["ones", "lapo"] = Field(
        "ones",
        description="The moving cluster sizes. ones: they start at 1; lapo: as in LAPO's code, at 0, and keep what the smoothing adds, "
        "which throws codes far away at first.",
    )
    revive_below: float = Field(
        0.0,
        ge=0,
        description="A code whose moving cluster size (vectors a batch) falls below this is re-drawn from the batch; 0: never.",
    )

    @property
    def latent_dim(self) -> int:
        return self.codebooks * self.tokens * self.code_dim

    @property
    def num_tokens(self) -> int:
        return self.codebooks * self.tokens

    @property
    def num_codes(self) -> int:
        return self.codes

    @property
    def num_codebooks(self) -> int:
        return self.codebooks

    @property
    def loss_weight(self) -> float:
        return self.commitment_weight
