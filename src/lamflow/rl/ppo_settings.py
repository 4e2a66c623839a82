"""Settings of proximal policy optimisation, which all that learn from rewards share: experts and online decoding."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from lamflow.settings import DEEPEST, MOST, SMALLEST, WIDEST, Settings


class PpoSettings(Settings):
    """PPO; the defaults are the published recipe of Procgen's easy mode (Cobbe et al. 2020)."""

    num_envs: int = Field(64, gt=1, le=WIDEST, description="Parallel environments, in two groups that take turns.")
    num_steps: int = Field(256, gt=0, le=WIDEST, description="Steps a rollout and environment.")
    total_steps: int = Field(25_000_000, gt=0, description="Environment steps of training.")
    epochs: int = Field(3, gt=0, le=DEEPEST, description="Passes over each rollout.")
    minibatches: int = Field(8, gt=0, le=MOST, description="Minibatches a pass.")
    learning_rate: float = Field(5e-4, gt=0, le=10, description="Adam's learning rate.")
    final_learning_rate_fraction: float = Field(
        1.0, ge=0, le=1, description="Learning rate at the end as a fraction of that at the start; linear in between."
    )
    discount: float = Field(0.999, gt=0, le=1, description="Discount factor gamma.")
    gae_lambda: float = Field(0.95, ge=0, le=1, description="Lambda of generalised advantage estimation.")
    clip_range: float = Field(0.2, gt=0, description="PPO's clipping range of the probability ratio.")
    clip_values: bool = Field(True, description="Clip the value's change to the same range.")
    entropy_coefficient: float = Field(0.01, ge=0, description="Weight of the entropy bonus.")
    value_coefficient: float = Field(0.5, ge=0, description="Weight of the value loss.")
    max_grad_norm: float = Field(0.5, gt=0, description="Gradient norm clip.")
    normalise_rewards: bool = Field(
        True,
        description="Divide rewards by the running deviation of the discounted return, and clip them to 10. Returns that are "
        "reported are raw.",
    )
    advantage_epsilon: float = Field(
        1e-8,
        ge=SMALLEST,
        description="Added to the deviation that a minibatch's advantages are divided by. Where rewards are rare, a value of about .05 "
        "keeps a rollout without any from being blown up to unit scale.",
    )
    precision: Literal["auto", "float32", "bf16"] = Field("auto", description="Autocast precision; see `training`.")
    checkpoint_every: int = Field(10, gt=0, description="Rollouts between two checkpoints in the state directory.")

    @property
    def steps_a_rollout(self) -> int:
        """Environment steps of all environments."""
        return self.num_envs * self.num_steps

    @property
    def num_rollouts(self) -> int:
        return max(1, self.total_steps // self.steps_a_rollout)

    @model_validator(mode="after")
    def _whole_batches(self) -> Self:
        if self.num_envs % 2:
            raise ValueError(f"num_envs: found {self.num_envs}, expected an even number")
        if self.steps_a_rollout % self.minibatches:
            raise ValueError(
                f"minibatches: found {self.minibatches}, expected a divisor of num_envs * num_steps = {self.steps_a_rollout}"
            )
        if self.steps_a_rollout == self.minibatches:
            raise ValueError(
                f"minibatches: found {self.minibatches}, which leaves one transition each; advantages are normalised within a minibatch, "
                "which takes two or more"
            )
        return self
