"""Settings of rollouts and of the statistics over them."""

from __future__ import annotations

from pydantic import Field

from lamflow.policies.settings import ActionSelection
from lamflow.settings import MOST, Settings


class EvaluationSettings(Settings):
    """Rollouts of the agents on test levels."""

    episodes: int = Field(100, gt=0, le=MOST, description="Episodes an agent (label count and draw).")
    action_selection: ActionSelection = Field(
        "sample", description="How an action is taken from its distribution, by methods that do not say it themselves."
    )
    bootstrap_samples: int = Field(
        2000, gt=0, le=1_000_000, description="Resamples of the stratified bootstrap intervals."
    )
