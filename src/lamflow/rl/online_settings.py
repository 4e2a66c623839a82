"""Settings of PPO and of the decoder's refits in online decoding (LAPO's third stage)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from lamflow.rl.ppo_settings import PpoSettings
from lamflow.settings import DEEPEST, LARGEST_BATCH, MOST, WIDEST, Settings, Width


class DelayedRateSettings(Settings):
    """A learning rate that is 0 at first, rises linearly to its peak, and falls linearly to its final fraction at the last step."""

    learning_rate: float = Field(2.5e-3, gt=0, le=10, description="Peak learning rate of Adam.")
    starts_at: int = Field(0, ge=0, description="Environment steps until which it is 0.")
    full_at: int = Field(50_000, ge=0, description="Environment steps after which it has reached its peak.")

    @model_validator(mode="after")
    def _rises(self) -> DelayedRateSettings:
        if self.full_at < self.starts_at:
            raise ValueError(f"full_at: found {self.full_at}, expected at least starts_at = {self.starts_at}")
        return self


class OnlinePpoSettings(PpoSettings):
    """PPO of online decoding; the defaults are LAPO's."""

    num_steps: int = Field(64, gt=0, le=WIDEST, description="Steps a rollout and environment.")
    total_steps: int = Field(4_000_000, gt=0, description="Environment steps of training.")
    learning_rate: float = Field(5e-4, gt=0, le=10, description="Adam's learning rate; of scratch only.")
    final_learning_rate_fraction: float = Field(
        0.0, ge=0, le=1, description="Learning rates at the end as a fraction of their peak; linear in between."
    )
    entropy_coefficient: float = Field(0.0025, ge=0, description="Weight of the entropy bonus.")
    policy_head: DelayedRateSettings = Field(
        default_factory=lambda: DelayedRateSettings(starts_at=35_000), description="The policy head, which begins at 0."
    )
    value_head: DelayedRateSettings = Field(
        default_factory=lambda: DelayedRateSettings(starts_at=25_000), description="The value head."
    )
    hidden_layer: DelayedRateSettings = Field(
        default_factory=lambda: DelayedRateSettings(learning_rate=1e-3, starts_at=50_000, full_at=200_000),
        description="The last layer before the heads. Those below stay as the latent policy has them.",
    )


class OnlineDecoderSettings(Settings):
    """The action decoder of online decoding, refitted from scratch on the agent's own transitions as the IDM labels them."""

    hidden_widths: tuple[Width, ...] = Field((192, 128, 64), max_length=DEEPEST, description="Hidden layers.")
    epochs: int = Field(3, gt=0, le=DEEPEST, description="Passes over the labelled transitions.")
    batch_size: int = Field(512, gt=0, le=LARGEST_BATCH, description="Transitions a step.")
    learning_rate: float = Field(1e-3, gt=0, le=10, description="Peak learning rate of Adam.")
    label_smoothing: float = Field(0.05, ge=0, lt=1, description="Share of the label spread over all actions.")
    first_fit: int = Field(10_000, ge=0, description="Environment steps after which it is fitted for the first time.")
    each_until: int = Field(
        50_000, ge=0, description="Environment steps up to which it is refitted after each rollout."
    )
    every: int = Field(20, gt=0, description="Rollouts between two fits after that.")
    last_fit: int = Field(400_000, ge=0, description="Environment steps after which it stays as it is.")
    buffer: Literal["ring", "reservoir"] = Field(
        "reservoir",
        description="Which labelled transitions are kept once the buffer is full. ring: the last ones; reservoir: a uniform sample of all.",
    )
    buffer_size: int = Field(65_536, gt=0, le=MOST, description="Labelled transitions that are kept.")
