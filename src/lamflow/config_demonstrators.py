"""Settings of demonstrators and of the episodes that they collect."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from lamflow.config_base import Settings
from lamflow.config_networks import ImpalaSettings


class ExpertSettings(Settings):
    """The PPO expert (JAX) of XLand environments whose demonstrator is `ppo`; planners need no training."""

    total_steps: int = Field(2_000_000, gt=0, description="Environment steps of PPO training, at most.")
    target_return: float = Field(
        0.96, description="Training stops early once the mean raw return of ten rollouts in a row has reached this."
    )
    num_envs: int = Field(256, gt=0, description="Parallel environments.")
    num_steps: int = Field(32, gt=0, description="Steps a rollout and environment.")
    epochs: int = Field(4, gt=0, description="Passes over each rollout.")
    minibatches: int = Field(8, gt=0, description="Minibatches a pass.")
    learning_rate: float = Field(1e-3, gt=0, description="Adam's learning rate, decayed linearly to 0.")
    discount: float = Field(0.99, gt=0, le=1, description="Discount factor gamma.")
    gae_lambda: float = Field(0.95, ge=0, le=1, description="Lambda of generalised advantage estimation.")
    clip_range: float = Field(0.2, gt=0, description="PPO's clipping range of the probability ratio.")
    entropy_coefficient: float = Field(0.01, ge=0, description="Weight of the entropy bonus.")
    value_coefficient: float = Field(0.5, ge=0, description="Weight of the value loss.")
    max_grad_norm: float = Field(0.5, gt=0, description="Gradient norm clip.")
    hidden_width: int = Field(128, gt=0, description="Width of the two hidden layers.")


class CollectionSettings(Settings):
    """Episodes of the demonstrator."""

    train_episodes: int = Field(2000, gt=0, description="Episodes of the train split.")
    validation_episodes: int = Field(
        200, gt=0, description="Episodes of the validation split (probes and held-out losses)."
    )
    test_episodes: int = Field(
        200, gt=0, description="Episodes of the test split; measures the demonstrator on test levels."
    )
    epsilon: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Probability of a uniformly random action at each step, so that every action occurs.",
    )
    sticky: float = Field(
        0.0, ge=0, lt=1, description="Probability that the demonstrator repeats its last action (Procgen)."
    )
    source: Literal["expert", "lapo", "dgrl"] = Field(
        "expert",
        description="Where the episodes of Procgen games come from. expert: rollouts of the expert; lapo: LAPO's published data; dgrl: the "
        "archives of 'The Generalization Gap in Offline RL'; see docs/datasets.md.",
    )
    levels: Literal["split", "all"] = Field(
        "split",
        description="Levels of Procgen games. split: each split has a range of its own; all: every split draws from all levels, as in "
        "LAPO (num_levels: 0).",
    )
    num_rulesets: int = Field(
        1000, gt=0, description="XLand rulesets over all splits (80% train, 10% validation, 10% test)."
    )
    reference_episodes: int = Field(
        512,
        gt=0,
        description="Episodes, on test levels, that measure the returns of the noise-free demonstrator and of random.",
    )


class PixelExpertSettings(Settings):
    """The PPO expert (torch) of Procgen games; the defaults are the published recipe of Procgen's easy mode."""

    source: Literal["shipped", "train"] = Field(
        "shipped",
        description="shipped: the checkpoint under resources/experts/ where the game has one, training where it has none; train: "
        "always train.",
    )
    num_envs: int = Field(64, gt=1, description="Parallel environments, in two groups that take turns.")
    num_steps: int = Field(256, gt=0, description="Steps a rollout and environment.")
    total_steps: int = Field(25_000_000, gt=0, description="Environment steps of training.")
    epochs: int = Field(3, gt=0, description="Passes over each rollout.")
    minibatches: int = Field(8, gt=0, description="Minibatches a pass.")
    learning_rate: float = Field(5e-4, gt=0, description="Adam's learning rate.")
    final_learning_rate_fraction: float = Field(
        1.0, ge=0, le=1, description="Learning rate at the end as a fraction of that at the start; linear in between."
    )
    discount: float = Field(0.999, gt=0, le=1, description="Discount factor gamma.")
    gae_lambda: float = Field(0.95, ge=0, le=1, description="Lambda of generalised advantage estimation.")
    clip_range: float = Field(0.2, gt=0, description="PPO's clipping range of the probability ratio and of the value.")
    entropy_coefficient: float = Field(0.01, ge=0, description="Weight of the entropy bonus.")
    value_coefficient: float = Field(0.5, ge=0, description="Weight of the value loss.")
    max_grad_norm: float = Field(0.5, gt=0, description="Gradient norm clip.")
    mask_duplicate_actions: bool = Field(
        False,
        description="Take one action only of each set that does the same thing in the game; see docs/environments.md.",
    )
    network: ImpalaSettings = Field(default_factory=ImpalaSettings, description="The network.")
    precision: Literal["auto", "float32", "bf16"] = Field("auto", description="Autocast precision; see `training`.")
    validate_every: int = Field(100, gt=0, description="Rollouts between two evaluations on validation levels.")
    validation_episodes: int = Field(64, gt=0, description="Episodes of such an evaluation.")
    checkpoint_every: int = Field(10, gt=0, description="Rollouts between two checkpoints in the state directory.")

    @model_validator(mode="after")
    def _whole_batches(self) -> PixelExpertSettings:
        if self.num_envs % 2:
            raise ValueError(f"num_envs: found {self.num_envs}, expected an even number")
        if self.num_envs * self.num_steps % self.minibatches:
            raise ValueError(
                f"minibatches: found {self.minibatches}, expected a divisor of num_envs * num_steps = "
                f"{self.num_envs * self.num_steps}"
            )
        return self
