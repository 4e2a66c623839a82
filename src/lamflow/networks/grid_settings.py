"""Settings of networks over grids of categories."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from lamflow.envs.spec import EnvironmentSpec
from lamflow.networks.settings import DynamicsSettings, EncoderSettings
from lamflow.settings import DEEPEST, WIDEST, Settings


class GridTrunkSettings(Settings):
    """Embeddings of categories, and convolutions."""

    width: int = Field(32, gt=0, le=WIDEST, description="Channels of each convolution.")
    layers: int = Field(3, gt=0, le=DEEPEST, description="3x3 convolutions.")
    embedding_dim: int = Field(8, gt=0, le=WIDEST, description="Embedding width of each category (tile, colour).")

    @classmethod
    def accepts(cls, spec: EnvironmentSpec) -> bool:
        """Grids whose cells have two categories."""
        return len(spec.category_sizes) == 2 and len(spec.frame_shape) == 3


class GridEncoderSettings(GridTrunkSettings, EncoderSettings):
    """A convolutional network over grids of categories."""

    builds: ClassVar[str] = "lamflow.networks.grid_encoder:build_grid_encoder"
    float32_when_used: ClassVar[str] = "over grids"

    kind: Literal["grid"] = "grid"
    pooling: Literal["max", "flatten"] = Field(
        "max", description="How the grid becomes a vector: max (translation-invariant) or flatten (keeps places)."
    )
    hidden_width: int = Field(128, gt=0, le=WIDEST, description="Width of the hidden layer after the pooling.")

    @property
    def extras_width(self) -> int:
        """Extra inputs are embedded as the grid's categories are."""
        return self.embedding_dim


class GridDynamicsSettings(GridTrunkSettings, DynamicsSettings):
    """A forward dynamics model over grids of categories."""

    builds: ClassVar[str] = "lamflow.networks.grid_dynamics:build_grid_dynamics"

    kind: Literal["grid"] = "grid"
    pooling: Literal["max", "flatten"] = Field(
        "max", description="Not read; may be given, so that one mapping describes both networks of a LAM."
    )
    hidden_width: int = Field(128, gt=0, le=WIDEST, description="Not read; may be given, as `pooling`.")

    @model_validator(mode="before")
    @classmethod
    def _predicts_classes(cls, given: Any) -> Any:
        if isinstance(given, dict) and "target" in given:
            raise ValueError(
                f"target: found {given['target']!r}, and the cells of grids are categories: their classes are predicted, which have "
                "neither a change nor a unit; leave target out"
            )
        return given
