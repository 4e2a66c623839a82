"""Settings of latent action models."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field, model_validator

from lamflow.components import Chosen
from lamflow.envs.spec import EnvironmentSpec
from lamflow.networks.grid_settings import GridDynamicsSettings, GridEncoderSettings
from lamflow.networks.settings import SYMMETRY, AnyDynamics, AnyEncoder, Symmetry, symmetry_problems
from lamflow.quantizers.settings import QUANTIZERS, QuantizerSettings
from lamflow.quantizers.vq_ema_settings import VqEmaSettings
from lamflow.settings import DEEPEST, LARGEST_BATCH, MOST, Settings, Width
from lamflow.training.settings import TrainingSettings


class SupervisionSettings(Settings):
    """Few action labels that a LAM sees beside the frames: a head on the latent before quantisation predicts the true action.

    Methods with such a LAM are compared at label budgets that hold these labels: of at least as many transitions, of that draw.
    """

    labels: int = Field(64, gt=0, le=MOST, description="Labelled transitions, the first of every larger label budget.")
    label_draw: int = Field(0, ge=0, le=MOST, description="Which random draw of the labels.")
    weight: float = Field(
        0.01, ge=0, description="Weight of the head's cross-entropy (nats) in the loss: LAOM 0.01, LAFP 0.1, CLAM 1."
    )
    every: int = Field(1, gt=0, description="Steps from one that the cross-entropy counts in to the next; CLAM 2.")
    batch_size: int = Field(64, gt=0, le=LARGEST_BATCH, description="Labelled transitions a step.")
    hidden_widths: tuple[Width, ...] = Field(
        (), max_length=DEEPEST, description="Hidden layers of the head; none: a linear map."
    )


class LamSettings(Settings):
    """A latent action model: inverse dynamics model, quantiser, forward dynamics model."""

    inverse_dynamics: AnyEncoder = Field(
        default_factory=GridEncoderSettings, description="The inverse dynamics model (IDM)."
    )
    forward_dynamics: AnyDynamics = Field(
        default_factory=GridDynamicsSettings, description="The forward dynamics model (FDM)."
    )
    quantizer: Annotated[QuantizerSettings, Chosen(QUANTIZERS)] = Field(
        default_factory=VqEmaSettings, description="The quantiser between them."
    )
    normalise: bool = Field(
        False,
        description="Batch normalisation of the IDM's output, before the quantiser. Its statistics are those of the batch in training, of "
        "all processes that share it, and moving averages that stay as they are when latents are computed for others.",
    )
    symmetry: Symmetry = Field("none", description=SYMMETRY)
    idm_horizon: int = Field(
        1,
        ge=1,
        le=10,
        description="In training the IDM sees o_{t+k} in the place of o_{t+1}, with k uniform in 1 .. idm_horizon within the episode "
        "(LAOM); the FDM still predicts o_{t+1}, and latent actions are those of k = 1.",
    )
    supervision: SupervisionSettings | None = Field(None, description="Few action labels in its training; null: none.")
    training: TrainingSettings = Field(default_factory=TrainingSettings, description="Its training.")

    def problems_on(self, spec: EnvironmentSpec) -> Iterable[tuple[str, str]]:
        """A symmetry that the environment's view has not."""
        return symmetry_problems(self.symmetry, spec)

    @model_validator(mode="after")
    def _quantizer_gets_what_it_needs(self) -> LamSettings:
        if self.quantizer.needs_normalised and not self.normalise:
            raise ValueError(f"quantizer: {self.quantizer.needs_normalised}; set normalise: true")
        if self.normalise and self.training.batch_size == self.training.devices:
            raise ValueError(
                "normalise: true needs batches of more than one transition per device; raise training.batch_size"
            )
        return self
