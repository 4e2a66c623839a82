"""Settings of networks and quantisers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lamflow.config_base import DEEPEST, SMALLEST, WIDEST, Settings, Width


class QuantizerSettings(Settings):
    """Vector quantisation with exponential moving averages (VQ-EMA), as in LAPO."""

    kind: Literal["vq_ema", "none"] = Field("vq_ema", description="vq_ema, or none for a continuous latent.")
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

    @model_validator(mode="after")
    def _latents_fit_a_layer(self) -> QuantizerSettings:
        if self.latent_dim > WIDEST:
            raise ValueError(
                f"codebooks x tokens x code_dim: found a latent of {self.latent_dim}, expected at most {WIDEST}"
            )
        return self


Symmetry = Literal["none", "rotation"]
SYMMETRY = (
    "rotation: networks see the window turned by quarter turns so that the agent faces up in the present frame, which makes them "
    "invariant to rotations of the grid. Only for full views, whose dynamics have that symmetry."
)


class NetworkSettings(Settings):
    """A convolutional network over grids of categories."""

    kind: Literal["grid"] = "grid"
    width: int = Field(32, gt=0, le=WIDEST, description="Channels of each convolution.")
    layers: int = Field(3, gt=0, le=DEEPEST, description="3x3 convolutions.")
    embedding_dim: int = Field(8, gt=0, le=WIDEST, description="Embedding width of each category (tile, colour).")
    pooling: Literal["max", "flatten"] = Field(
        "max", description="How the grid becomes a vector: max (translation-invariant) or flatten (keeps places)."
    )
    hidden_width: int = Field(128, gt=0, le=WIDEST, description="Width of the hidden layer after the pooling.")


class ImpalaSettings(Settings):
    """The IMPALA network over RGB frames."""

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


class UnetSettings(Settings):
    """The U-Net forward dynamics model over RGB frames."""

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


EncoderSettings = Annotated[NetworkSettings | ImpalaSettings, Field(discriminator="kind")]
"""A network from frames to a vector: grid for XLand-MiniGrid, impala for pixels."""
DynamicsSettings = Annotated[NetworkSettings | UnetSettings, Field(discriminator="kind")]
"""A forward dynamics model: grid for XLand-MiniGrid, unet for pixels."""
