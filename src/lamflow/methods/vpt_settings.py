"""Settings of video pretraining (VPT)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from lamflow.envs.spec import EnvironmentSpec
from lamflow.methods.settings import MethodSettings, Stage
from lamflow.networks.grid_settings import GridEncoderSettings
from lamflow.networks.settings import SYMMETRY, AnyEncoder, Symmetry, symmetry_problems
from lamflow.policies.mlp_decoder_settings import MlpDecoderSettings
from lamflow.policies.settings import ACTION_SELECTION, ActionSelection, PolicySettings
from lamflow.settings import EpisodeCount


class VptMethodSettings(MethodSettings):
    """An IDM trained on the N labels, its pseudo-labels on all episodes, behaviour cloning on them (VPT)."""

    builds: ClassVar[str] = "lamflow.methods.vpt:Vpt"
    takes_labels: ClassVar[bool] = True
    policy_of_labels: ClassVar[bool] = True
    policy_of_episodes: ClassVar[bool] = True
    reads_with: ClassVar[tuple[str, ...]] = ("decoders",)
    is_baseline: ClassVar[bool] = True

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
    labeller_episodes: EpisodeCount = Field(
        "all",
        description="Episodes of the train split that the labels of the supervised IDM are drawn from: all, or so many of them, drawn as "
        "those of `policy.episodes`. With fewer than all, its labels are others than those of other methods.",
    )
    policy: PolicySettings = Field(
        default_factory=PolicySettings,
        description="The policy; `episodes` are those that the supervised IDM labels for it.",
    )
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

    def asked_episodes(self) -> Mapping[str, EpisodeCount]:
        """Those of the inverse dynamics model too."""
        return {**super().asked_episodes(), "labeller_episodes": self.labeller_episodes}

    @property
    def most_label_draws(self) -> int | None:
        """As ``label_draws`` says."""
        return self.label_draws

    def needs(self, stage: Stage) -> tuple[str, ...] | None:
        """Few labels for the inverse dynamics models, whose labels the policies imitate."""
        needed: dict[Stage, tuple[str, ...]] = {
            "decoders": ("train",),
            "policy": ("train", "validation", "decoders"),
            "agent": ("episodes", "policy"),
        }
        return needed.get(stage)

    def unread(self, stage: Stage) -> frozenset[str]:
        """Policies come after the inverse dynamics models, which are files to them."""
        unread: dict[Stage, set[str]] = {"decoders": {"policy"}, "policy": {"decoder", "inverse_dynamics", "symmetry"}}
        return super().unread(stage) | unread.get(stage, set())

    def parts(self, stage: Stage) -> Mapping[str, Any]:
        """Policies are trained on what the inverse dynamics models label, which run for that."""
        labelling = {"inverse_dynamics": self.inverse_dynamics} if stage == "policy" else {}
        return {**super().parts(stage), **labelling}

    def devices(self, stage: Stage) -> int:
        """Those of the trainings."""
        found: dict[Stage, int] = {"decoders": self.decoder.devices, "policy": self.policy.training.devices}
        return found.get(stage, 1)
