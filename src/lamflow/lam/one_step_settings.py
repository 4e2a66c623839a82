"""Settings of latent action models of single transitions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from lamflow.envs.spec import EnvironmentSpec
from lamflow.lam.settings import LamSettings
from lamflow.networks.grid_settings import GridDynamicsSettings, GridEncoderSettings
from lamflow.networks.settings import SYMMETRY, AnyDynamics, AnyEncoder, Symmetry, symmetry_problems


class OneStepSettings(LamSettings):
    """A latent action model of single transitions: inverse dynamics model, quantiser, forward dynamics model (LAPO)."""

    builds: ClassVar[str] = "lamflow.lam.one_step:OneStepLam"

    kind: Literal["one_step"] = "one_step"
    inverse_dynamics: AnyEncoder = Field(
        default_factory=GridEncoderSettings, description="The inverse dynamics model (IDM)."
    )
    forward_dynamics: AnyDynamics = Field(
        default_factory=GridDynamicsSettings, description="The forward dynamics model (FDM)."
    )
    normalise: bool = Field(
        False,
        description="Batch normalisation of the IDM's output, before the quantiser. Its statistics are those of the batch in training, of "
        "all processes that share it, and moving averages that stay as they are when latents are computed for others.",
    )
    symmetry: Symmetry = Field("none", description=SYMMETRY)
    context: int = Field(
        1,
        ge=0,
        le=32,
        description="Frames before o_t that IDM and FDM see; 1: LAPO. Before an episode's begin its first frame is repeated.",
    )
    idm_horizon: int = Field(
        1,
        ge=1,
        le=10,
        description="In training the IDM sees o_{t+k} in the place of o_{t+1}, with k uniform in 1 .. idm_horizon within the episode "
        "(LAOM); the FDM still predicts o_{t+1}, and latent actions are those of k = 1.",
    )

    def problems_on(self, spec: EnvironmentSpec) -> Iterable[tuple[str, str]]:
        """A symmetry that the environment's view has not."""
        return symmetry_problems(self.symmetry, spec)

    @model_validator(mode="after")
    def _quantizer_gets_what_it_needs(self) -> OneStepSettings:
        if self.quantizer.needs_normalised and not self.normalise:
            raise ValueError(f"quantizer: {self.quantizer.needs_normalised}; set normalise: true")
        if self.normalise and self.training.batch_size == self.training.devices:
            raise ValueError(
                "normalise: true needs batches of more than one transition per device; raise training.batch_size"
            )
        return self
