"""Settings of behaviour cloning on all actions."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from lamflow.methods.settings import NEEDS_OF_CLONING, MethodSettings, Stage
from lamflow.policies.settings import ACTION_SELECTION, ActionSelection, PolicySettings


class OracleMethodSettings(MethodSettings):
    """Behaviour cloning on the true action of every transition: the ceiling of the same inputs."""

    builds: ClassVar[str] = "lamflow.methods.oracle_bc:OracleCloning"
    policy_of_episodes: ClassVar[bool] = True

    kind: Literal["oracle_bc"] = "oracle_bc"
    policy: PolicySettings = Field(default_factory=PolicySettings, description="The policy.")
    action_selection: ActionSelection | None = Field(None, description=ACTION_SELECTION)

    def needs(self, stage: Stage) -> tuple[str, ...] | None:
        """Episodes with all actions."""
        return NEEDS_OF_CLONING.get(stage)

    def devices(self, stage: Stage) -> int:
        """Those of the policy's training."""
        return self.policy.training.devices if stage == "policy" else 1
