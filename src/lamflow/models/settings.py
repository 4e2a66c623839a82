"""Settings of networks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lamflow.settings import DEEPEST, WIDEST, Settings, Width

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
