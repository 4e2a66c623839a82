"""Settings of the methods that are compared, but for those that learn online."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field, model_validator

from lamflow.envs.spec import EnvironmentSpec
from lamflow.networks.grid_settings import GridEncoderSettings
from lamflow.networks.settings import SYMMETRY, AnyEncoder, Symmetry, symmetry_problems
from lamflow.policies.flow_settings import FlowSettings
from lamflow.policies.mixture_settings import MixtureSettings
from lamflow.policies.mlp_decoder_settings import MlpDecoderSettings
from lamflow.policies.settings import (
    ACTION_SELECTION,
    ActionSelection,
    AnyDecoder,
    AnyHead,
    HeadSettings,
    PolicySettings,
)
from lamflow.settings import Name, Settings


class LatentMethodSettings(Settings):
    """Policy in latent actions + action decoder (LAPO and its relatives)."""

    kind: Literal["latent"] = "latent"
    lam: Name = Field(description="The LAM, by its name under `lams`.")
    target: Literal["latent", "codes", "mixture", "flow", "head"] = Field(
        "latent",
        description="What the policy learns of the pre-quantisation latent. latent: its mean (MSE, LAPO); mixture: its distribution as a "
        "Gaussian mixture; flow: its distribution by flow matching; head: its distribution as `head` says. Or codes: categorical over the "
        "codes.",
    )
    mixture: MixtureSettings = Field(default_factory=MixtureSettings, description="The mixture, with target mixture.")
    flow: FlowSettings = Field(default_factory=FlowSettings, description="The flow, with target flow.")
    head: AnyHead = Field(
        default_factory=MixtureSettings, description="The distribution, of any kind there is, with target head."
    )
    policy: PolicySettings = Field(default_factory=PolicySettings, description="The latent policy.")
    decoder: AnyDecoder = Field(default_factory=MlpDecoderSettings, description="The action decoder.")
    action_selection: ActionSelection | None = Field(None, description=ACTION_SELECTION)

    @model_validator(mode="after")
    def _settings_of_the_target(self) -> LatentMethodSettings:
        for name, default in (("mixture", MixtureSettings()), ("flow", FlowSettings()), ("head", MixtureSettings())):
            if getattr(self, name) != default and self.target != name:
                raise ValueError(f"{name}: counts with target: {name} alone; found target: {self.target}")
        return self

    @property
    def latent_head(self) -> HeadSettings | None:
        """Settings of the distribution over latents, where the policy has one."""
        heads: dict[str, HeadSettings] = {"mixture": self.mixture, "flow": self.flow, "head": self.head}
        return heads.get(self.target)


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
    decoder: MlpDecoderSettings = Field(
        default_factory=MlpDecoderSettings, description="Training of the supervised IDM."
    )
    label_draws: int | None = Field(
        None,
        gt=0,
        le=100,
        description="At most so many of the experiment's label draws, the first ones: each costs a policy on all episodes for each label "
        "count. null: all of them.",
    )
    policy: PolicySettings = Field(default_factory=PolicySettings, description="The policy.")
    action_selection: ActionSelection | None = Field(None, description=ACTION_SELECTION)

    def problems_on(self, spec: EnvironmentSpec) -> Iterable[tuple[str, str]]:
        """A symmetry that the environment's view has not."""
        return symmetry_problems(self.symmetry, spec)

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
