"""Settings of online decoding: a latent policy fine-tuned with rewards (LAPO's third stage), and PPO from scratch beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from lamflow.envs.spec import EnvironmentSpec
from lamflow.lam.settings import LamSettings
from lamflow.methods.latent_settings import LatentMethodSettings
from lamflow.methods.settings import MethodSettings, Stage
from lamflow.policies.settings import ACTION_SELECTION, ActionSelection
from lamflow.rl.online_settings import OnlineDecoderSettings, OnlinePpoSettings
from lamflow.settings import Name
from lamflow.spaces import Box


class OnlineMethodSettings(MethodSettings):
    """A latent method's policy fine-tuned with rewards and no action labels but the agent's own actions; or PPO from scratch."""

    builds: ClassVar[str] = "lamflow.methods.online:Online"

    kind: Literal["online"] = "online"
    of: Name = Field(
        description="The latent method, by its name under `methods`; scratch takes no more than its network."
    )
    variant: Literal["rl_sl", "rl", "scratch"] = Field(
        "rl_sl",
        description="rl_sl: mean of the logits of a policy head and of the decoded latent policy (LAPO); rl: the policy head alone, "
        "on the latent policy's features; scratch: all from nothing.",
    )
    ppo: OnlinePpoSettings = Field(default_factory=OnlinePpoSettings, description="PPO.")
    decoder: OnlineDecoderSettings = Field(
        default_factory=OnlineDecoderSettings, description="The decoder (rl_sl only)."
    )
    action_selection: ActionSelection | None = Field(None, description=ACTION_SELECTION)

    @model_validator(mode="after")
    def _schedules_fit_the_budget(self) -> OnlineMethodSettings:
        ppo, decoder = self.ppo, self.decoder
        if self.variant == "scratch":
            return self
        if ppo.learning_rate != OnlinePpoSettings().learning_rate:
            raise ValueError(
                f"ppo.learning_rate: counts with variant: scratch alone; {self.variant} has those of policy_head, value_head and "
                "hidden_layer"
            )
        for name in ("policy_head", "value_head", "hidden_layer"):
            full_at = getattr(ppo, name).full_at
            if full_at > ppo.total_steps:
                raise ValueError(
                    f"ppo.{name}.full_at: found {full_at}, expected at most ppo.total_steps = {ppo.total_steps}: schedules are in "
                    "environment steps, and a smaller budget needs smaller ones"
                )
        if self.variant == "rl_sl":
            last = min(decoder.last_fit, ppo.total_steps)
            if decoder.first_fit > last:
                raise ValueError(
                    f"decoder.first_fit: found {decoder.first_fit}, expected at most {last}, the lower of decoder.last_fit and "
                    "ppo.total_steps"
                )
            if ppo.num_steps == 1:
                raise ValueError(
                    "ppo.num_steps: found 1; a decoder needs rollouts of 2 steps or more, whose frames it is fitted to"
                )
        return self

    @property
    def tuned_name(self) -> str:
        """The latent method."""
        return self.of

    def needs(self, stage: Stage) -> tuple[str, ...] | None:
        """The latent policy that is fine-tuned, and the LAM that labels; the episodes have the returns of random and demonstrator."""
        if stage == "online":
            policy = () if self.variant == "scratch" else ("tuned_policy",)
            return ("episodes", *policy, *(("tuned_lam",) if self.variant == "rl_sl" else ()))
        return ("episodes", "online_agent") if stage == "agent" else None

    def unread(self, stage: Stage) -> frozenset[str]:
        """A decoder is refitted by one variant alone."""
        return super().unread(stage) | ({"decoder"} if stage == "online" and self.variant != "rl_sl" else set())

    def problems_on(self, spec: EnvironmentSpec) -> Iterable[tuple[str, str]]:
        """Several environments, as it learns by playing one; actions that have no logits, which the policy head and the decoder are the
        mean of."""
        if spec.members:
            yield (
                "kind",
                f"found online, which plays one environment, and {spec.name} is made of {', '.join(spec.members)}: name other environments "
                "for the method under `only`",
            )
        if spec.family == "recorded":
            yield (
                "kind",
                f"found online, which learns by playing, and nobody plays {spec.name}: there are its recordings alone; name other "
                "environments for the method under `only`",
            )
        if isinstance(spec.action, Box):
            yield (
                "kind",
                f"online decoding takes discrete actions, and those of {spec.name} are continuous; leave it out there, see `only`",
            )

    def problems_among(
        self, lams: Mapping[str, LamSettings], methods: Mapping[str, MethodSettings]
    ) -> Iterable[tuple[str, str]]:
        """A method that is none in latent actions, or that cannot be learnt further."""
        tuned = methods.get(self.of)
        if not isinstance(tuned, LatentMethodSettings):
            latent = [other for other, settings in methods.items() if isinstance(settings, LatentMethodSettings)]
            yield "of", f"found {self.of!r}, expected a method of kind latent; known: {', '.join(latent) or 'none'}"
            return
        if tuned.policy.recurrent:
            yield (
                "of",
                f"{self.of!r} has a recurrent policy, which online decoding cannot take; give it a context of several frames instead",
            )
        if self.variant != "scratch" and tuned.lam in lams and lams[tuned.lam].supervision is not None:
            yield (
                "of",
                f"the LAM of {self.of!r}, {tuned.lam!r}, has seen action labels (supervision), and online decoding has none; give it a "
                "latent method whose LAM is unsupervised",
            )
        if self.variant == "rl_sl" and tuned.decoder.sees_observation:
            yield (
                "of",
                f"{self.of!r} has decoder.observation: true, and the decoder of online decoding sees the latent alone; give it a latent "
                "method with observation: false",
            )
