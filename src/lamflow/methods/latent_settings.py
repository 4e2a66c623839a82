"""Settings of methods that act in latent actions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from lamflow.lam.settings import LamSettings
from lamflow.methods.settings import MethodSettings, Stage
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
from lamflow.settings import Name


class LatentMethodSettings(MethodSettings):
    """Policy in latent actions + action decoder (LAPO and its relatives)."""

    builds: ClassVar[str] = "lamflow.methods.latent:Latent"
    takes_labels: ClassVar[bool] = True
    policy_of_episodes: ClassVar[bool] = True
    reads_with: ClassVar[tuple[str, ...]] = ("lam",)

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

    @property
    def lam_name(self) -> str:
        """Its LAM."""
        return self.lam

    def needs(self, stage: Stage) -> tuple[str, ...] | None:
        """The latents of its LAM; decoders that see the observation see it by the features of the trained policy."""
        observing = ("policy",) if self.decoder.sees_observation else ()
        needed: dict[Stage, tuple[str, ...]] = {
            "decoders": ("train", "latents", *observing),
            "policy": ("train", "validation", "latents", "validation_latents"),
            "agent": ("episodes", "policy", "decoders"),
        }
        return needed.get(stage)

    def needs_actions(self, stage: Stage) -> bool:
        """Its policy learns latents."""
        return stage != "policy"

    def unread(self, stage: Stage) -> frozenset[str]:
        """Decoders do not read what the policy is, nor policies what decodes them."""
        unread: dict[Stage, set[str]] = {"decoders": {"policy", "mixture", "flow", "head"}, "policy": {"decoder"}}
        return super().unread(stage) | unread.get(stage, set())

    def parts(self, stage: Stage) -> Mapping[str, Any]:
        """With decoders that see its features, the policy."""
        observing = {"policy": self.policy} if stage == "decoders" and self.decoder.sees_observation else {}
        return {**super().parts(stage), **observing}

    def devices(self, stage: Stage) -> int:
        """Those of the trainings."""
        found: dict[Stage, int] = {"decoders": self.decoder.devices, "policy": self.policy.training.devices}
        return found.get(stage, 1)

    def problems_among(
        self, lams: Mapping[str, LamSettings], methods: Mapping[str, MethodSettings]
    ) -> Iterable[tuple[str, str]]:
        """A LAM that there is not, or whose latents its target or decoder cannot take."""
        if self.lam not in lams:
            yield "lam", f"unknown LAM {self.lam!r}; known: {', '.join(lams) or 'none'}"
            return
        quantizer = lams[self.lam].quantizer
        if (self.target == "codes" or self.decoder.decodes_codes) and not quantizer.num_tokens:
            yield "", f"codes need a quantiser, and LAM {self.lam!r} has none"
        if refusal := self.decoder.refusal(self.target, quantizer, self.lam):
            yield "", refusal
