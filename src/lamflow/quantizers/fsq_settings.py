"""Settings of finite scalar quantisation."""

from __future__ import annotations

from math import prod
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from lamflow.quantizers.settings import QuantizerSettings
from lamflow.settings import DEEPEST, WIDEST


class FsqSettings(QuantizerSettings):
    """Finite scalar quantisation: each entry of the latent is rounded to one of a few levels, without a codebook to learn (Mentzer et al.
    2023, arXiv 2309.15505). It needs `normalise: true` of its LAM."""

    builds: ClassVar[str] = "lamflow.quantizers.fsq:FiniteScalarQuantizer"
    width: ClassVar[str] = "tokens x length of levels"
    needs_normalised: ClassVar[str] = "fsq takes one code for everything where latents begin near 0, as they do"
    kind: Literal["fsq"] = "fsq"
    levels: tuple[Annotated[int, Field(ge=2, le=WIDEST)], ...] = Field(
        (8, 6, 5),
        min_length=1,
        max_length=DEEPEST,
        description="Levels of each entry of a token; their product is the number of codes.",
    )
    tokens: int = Field(1, gt=0, le=DEEPEST, description="Tokens; the latent has tokens x length of levels entries.")

    @property
    def latent_dim(self) -> int:
        return self.tokens * len(self.levels)

    @property
    def num_tokens(self) -> int:
        return self.tokens

    @property
    def num_codes(self) -> int:
        return prod(self.levels)

    @model_validator(mode="after")
    def _codes_fit_a_layer(self) -> FsqSettings:
        if self.num_codes > WIDEST:
            raise ValueError(f"levels: found {self.num_codes} codes, expected at most {WIDEST}")
        return self
