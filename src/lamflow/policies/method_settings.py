"""Settings of the methods that are compared, but for those that learn online."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from lamflow.networks.grid_settings import GridEncoderSettings
from lamflow.networks.settings import SYMMETRY, AnyEncoder, Symmetry
from lamflow.policies.settings import (
    ACTION_SELECTION,
    ActionSelection,
    DecoderSettings,
    FlowSettings,
    MixtureSettings,
    PolicySettings,
)
from lamflow.settings import Name, Settings


class LatentMethodSettings(Settings):
    """Policy in latent actions + action decoder (LAPO and its relatives)."""

    kind: Literal["latent"] = "latent"
    lam: Name = Field(description="The LAM, by its name under `lams`.")
    target: Literal["latent", "codes", "mixture", "flow"] = Field(
        "latent",
        description="What the policy learns of the pre-quantisation latent. latent: its mean (MSE, LAPO); mixture: its distribution as a "
        "Gaussian mixture; flow: its distribution by flow matching. Or codes: categorical over the codes.",
    )
    mixture: MixtureSettings = Field(default_factory=MixtureSettings, description="The mixture, with target mixture.")
    flow: FlowSettings = Field(default_factory=FlowSettings, description="The flow, with target flow.")
    policy: PolicySettings = Field(default_factory=PolicySettings, description="The latent policy.")
    decoder: DecoderSettings = Field(default_factory=DecoderSettings, description="The action decoder.")
    action_selection: ActionSelection | None = Field(None, description=ACTION_SELECTION)

    @model_validator(mode="after")
    def _settings_of_the_target(self) -> LatentMethodSettings:
        for name, default in (("mixture", MixtureSettings()), ("flow", FlowSettings())):
            if getattr(self, name) != default and self.target != name:
                raise ValueError(f"{name}: counts with target: {name} alone; found target: {self.target}")
        return self

    @property
    def head(self) -> MixtureSettings | FlowSettings | None:
        """Settings of the distribution over latents, where the policy has one."""
        return self.mixture if self.target == "mixture" else self.flow if self.target == "flow" else None


class BcMethodSettings(Settings):
    """Behaviour cloning on the N labelled transitions alone."""

    kind: Literal["bc"] = "bc"
    policy: PolicySettings = Field(default_factory=PolicySettings, description="The policy.")
    action_selection: ActionSelection | None = Field(None, description=ACTION_SELECTION)


class VptMethodSettings(Settings):
    """An IDM trained on the N labels, its pseudo-labels on all episodes, behaviour cloning on them (VPT)."""

    kind: Literal["vpt"] = "vpt"
    inverse_dynamics: AnyEncoder = Field(default_factory=GridEncoderSettings, description="The supervised IDM.")
    symmetry: Symmetry = Field("none", description="Of the supervised IDM. " + SYMMETRY)
    decoder: DecoderSettings = Field(default_factory=DecoderSettings, description="Training of the supervised IDM.")
    label_draws: int | None = Field(
        None,
        gt=0,
        le=100,
        description="At most so many of the experiment's label draws, the first ones: each costs a policy on all episodes for each label "
        "count. null: all of them.",
    )
    policy: PolicySettings = Field(default_factory=PolicySettings, description="The policy.")
    action_selection: ActionSelection | None = Field(None, description=ACTION_SELECTION)

    @model_validator(mode="after")
    def _models_see_windows(self) -> VptMethodSettings:
        if self.decoder.observation:
            raise ValueError(
                "decoder.observation: true is for decoders of latents; found kind: vpt, whose inverse dynamics model sees the frames"
            )
        return self


class OracleMethodSettings(Settings):
    """Behaviour cloning on the true action of every transition: the ceiling of the same inputs."""

    kind: Literal["oracle_bc"] = "oracle_bc"
    policy: PolicySettings = Field(default_factory=PolicySettings, description="The policy.")
    action_selection: ActionSelection | None = Field(None, description=ACTION_SELECTION)


class RandomMethodSettings(Settings):
    """Uniformly random actions."""

    kind: Literal["random"] = "random"
