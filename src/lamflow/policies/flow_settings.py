"""Settings of flow matching of latents."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from lamflow.policies.settings import HeadSettings
from lamflow.settings import DEEPEST, Width


class FlowSettings(HeadSettings):
    """Flow matching over the pre-quantisation latent: a network predicts the latent from a noisy one, the time and the policy's output."""

    builds: ClassVar[str] = "lamflow.policies.flow_head:FlowHead"

    kind: Literal["flow"] = "flow"
    integration_steps: int = Field(
        4, gt=0, le=DEEPEST, description="Euler steps from noise to a latent; 2 to 5 are enough."
    )
    hidden_widths: tuple[Width, ...] = Field(
        (256, 256), min_length=1, max_length=DEEPEST, description="Hidden layers of the network."
    )
    samples: int = Field(
        4,
        gt=0,
        le=DEEPEST,
        description="Latents that an agent draws at each step; it averages their decoded action probabilities.",
    )
