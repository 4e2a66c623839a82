"""Settings of behaviour cloning on few labels."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from lamflow.methods.settings import NEEDS_OF_CLONING, MethodSettings, Stage
from lamflow.policies.settings import ACTION_SELECTION, ActionSelection, PolicySettings


class BcMethodSettings(MethodSettings):
    """Behaviour cloning on the N labelled transitions alone."""

    builds: ClassVar[str] = "lamflow.methods.bc:BehaviourCloning"
    takes_labels: ClassVar[bool] = True
    policy_of_labels: ClassVar[bool] = True
    is_baseline: ClassVar[bool] = True

    kind: Literal["bc"] = "bc"
    policy: PolicySettings = Field(default_factory=PolicySettings, description="The policy.")
    action_selection: ActionSelection | None = Field(None, description=ACTION_SELECTION)

    def needs(self, stage: Stage) -> tuple[str, ...] | None:
        """Episodes with few labels."""
        return NEEDS_OF_CLONING.get(stage)

    def devices(self, stage: Stage) -> int:
        """Those of the policy's training."""
        return self.policy.training.devices if stage == "policy" else 1
