"""What a method that learns with rewards answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from lamflow.lam.settings import LamSettings
from lamflow.methods.jobs import Job
from lamflow.methods.settings import MethodSettings
from lamflow.rl.online import DecoderRefits
from lamflow.rl.online_policies import OnlinePolicy
from lamflow.rl.online_settings import OnlinePpoSettings


@dataclass(frozen=True)
class OnlineTraining:
    """The untrained agent, how PPO trains it, what is refitted meanwhile, and the LAM that labels, None without one."""

    policy: OnlinePolicy
    settings: OnlinePpoSettings
    header: Mapping[str, Any]
    """What the agent's file says of it."""
    refits: DecoderRefits | None = None
    lam: LamSettings | None = None


class LearnsOnline(Protocol):
    """A method that plays train levels to learn."""

    def online(self, job: Job, tuned: MethodSettings) -> OnlineTraining:
        """What it trains; ``tuned``: the method whose policy it takes further."""
        ...
