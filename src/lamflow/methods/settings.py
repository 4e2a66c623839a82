"""What the settings of any method say of it: the files that its stages need, and which of its settings each of them reads.

A method is settings, in a file ``*_settings.py`` of this room, and a class beside them that learns and acts. See
``lamflow.methods.interface``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import TypeAdapter, model_validator

from lamflow.components import Chosen, Component, Registry, kind_of
from lamflow.lam.settings import LamSettings
from lamflow.policies.settings import PolicySettings
from lamflow.settings import EpisodeCount

Stage = Literal["decoders", "policy", "online", "agent", "scores"]
"""What a method may do in the workflow: fit action decoders, train its policy, learn with rewards, play, and, where nobody plays, answer
recorded observations and transitions with actions."""
LEARNS_IN: Mapping[Stage, str] = {
    "decoders": "decoders",
    "policy": "policies",
    "online": "online",
    "agent": "agent",
}
"""The function of ``lamflow.methods.interface.Method`` that a stage calls; scores call all that answer."""


NEEDS_OF_CLONING: Mapping[Stage, tuple[str, ...]] = {
    "policy": ("train", "validation"),
    "agent": ("episodes", "policy"),
}
"""Of methods that clone the actions of episodes and act by these policies."""


class MethodSettings(Component):
    """Base of the methods' settings. It builds a ``lamflow.methods.interface.Method``."""

    takes_labels: ClassVar[bool] = False
    """Whether label budgets count for it: it has an agent per label count and draw."""
    policy_of_labels: ClassVar[bool] = False
    """Whether its policies are trained on the labels, one per label count and draw, and not one for all of them."""
    policy_of_episodes: ClassVar[bool] = False
    """Whether its policies are trained on all transitions of episodes, of which its ``policy.episodes`` may ask for fewer than all."""
    reads_with: ClassVar[tuple[str, ...] | None] = None
    """The artefacts, beside those of its agents, with which its decoders read actions off transitions, whose next frame they see, by the
    function ``action_reader`` of what it builds. None: it has no such decoders."""
    is_baseline: ClassVar[bool] = False
    """Whether methods with latent actions are compared with it, which gets the same labels and has none."""

    @property
    def lam_name(self) -> str | None:
        """The LAM that it uses, None without one."""
        return None

    @property
    def tuned_name(self) -> str | None:
        """The method whose policy it takes further, None without one."""
        return None

    @property
    def policy_episodes(self) -> EpisodeCount | None:
        """Episodes that its policies are trained on, None where they are trained on none, or on labels alone."""
        policy = getattr(self, "policy", None)
        return policy.episodes if self.policy_of_episodes and isinstance(policy, PolicySettings) else None

    def asked_episodes(self) -> Mapping[str, EpisodeCount]:
        """How many episodes of the train split it asks for, by the keys that say it."""
        count = self.policy_episodes
        return {} if count is None else {"policy.episodes": count}

    @model_validator(mode="after")
    def _policies_of_episodes(self) -> MethodSettings:
        policy = getattr(self, "policy", None)
        if isinstance(policy, PolicySettings) and policy.episodes != "all" and not self.policy_of_episodes:
            raise ValueError(
                f"policy.episodes: found {policy.episodes}, expected all: policies of kind {kind_of(type(self))!r} are trained on the "
                "labels that they are given, and on no other transition"
            )
        return self

    @property
    def most_label_draws(self) -> int | None:
        """At most so many of the experiment's label draws; None: all."""
        return None

    def needs(self, stage: Stage) -> tuple[str, ...] | None:
        """The artefacts that a stage of it reads (``lamflow.experiment.artefacts``); None where it has no such stage."""
        return ("episodes",) if stage == "agent" else None

    def needed(self, stage: Stage) -> tuple[str, ...] | None:
        """The same of any stage: to be scored, what its agents read, and its decoders."""
        if stage != "scores":
            return self.needs(stage)
        acting = self.needs("agent")
        return None if acting is None else tuple(dict.fromkeys([*acting, *(self.reads_with or ())]))

    def needs_actions(self, stage: Stage) -> bool:
        """Whether a stage of it has a meaning only where some actions are known."""
        return True

    def unread(self, stage: Stage) -> frozenset[str]:
        """Its keys that change nothing of what a stage makes."""
        return frozenset({"label_draws"} if stage == "agent" else {"label_draws", "action_selection"})

    @property
    def plays_in_training(self) -> bool:
        """Whether its policies can play while they train: whether all else that its agents are made of is made without them."""
        acting, decoding = self.needs("agent") or (), self.needs("decoders") or ()
        return (
            self.needs("policy") is not None
            and "policy" in acting
            and not ("decoders" in acting and "policy" in decoding)
        )

    def parts(self, stage: Stage) -> Mapping[str, Any]:
        """The settings whose components' code a stage runs, by key."""
        return {name: getattr(self, name) for name in type(self).model_fields if name not in self.unread(stage)}

    def devices(self, stage: Stage) -> int:
        """GPUs that a stage of it computes on."""
        return 1

    def problems_among(
        self, lams: Mapping[str, LamSettings], methods: Mapping[str, MethodSettings]
    ) -> Iterable[tuple[str, str]]:
        """Why it cannot be used beside these: pairs of one of its keys (empty for all of it) and what is wrong."""
        return ()

    def modules(self, stage: Stage) -> tuple[str, ...]:
        """Further modules whose code a stage runs, which its settings name: those of other people."""
        return ()

    def code_in(self, stage: Stage) -> str:
        """What it runs in a stage, for ``lamflow.code_digests``."""
        return f"{self.builds}.{LEARNS_IN[stage]}" if stage in LEARNS_IN else self.builds.partition(":")[0]


METHODS: Registry[MethodSettings] = Registry("lamflow.methods", MethodSettings)
AnyMethod = Annotated[MethodSettings, Chosen(METHODS)]


def method_settings(settings: Mapping[str, Any]) -> MethodSettings:
    """The settings group of a method's dumped settings, by their kind; pydantic's ValidationError when they are none."""
    found: MethodSettings = TypeAdapter(AnyMethod).validate_python(settings)
    return found
