"""Settings of demonstrators and of the episodes that they collect."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lamflow.networks.impala_settings import ImpalaSettings
from lamflow.rl.ppo_settings import PpoSettings
from lamflow.settings import DEEPEST, MOST, SMALLEST, WIDEST, Settings


class ExpertSettings(PpoSettings):
    """The PPO expert of XLand environments whose demonstrator is `ppo`; planners need no training."""

    total_steps: int = Field(2_000_000, gt=0, description="Environment steps of training, at most.")
    target_return: float = Field(
        0.96, description="Training stops early once the mean raw return of ten rollouts in a row has reached this."
    )
    num_envs: int = Field(256, gt=1, le=WIDEST, description="Parallel environments, in two groups that take turns.")
    num_steps: int = Field(32, gt=0, le=WIDEST, description="Steps a rollout and environment.")
    epochs: int = Field(4, gt=0, le=DEEPEST, description="Passes over each rollout.")
    learning_rate: float = Field(1e-3, gt=0, le=10, description="Adam's learning rate.")
    final_learning_rate_fraction: float = Field(
        0.0, ge=0, le=1, description="Learning rate at the end as a fraction of that at the start; linear in between."
    )
    discount: float = Field(0.99, gt=0, le=1, description="Discount factor gamma.")
    clip_values: bool = Field(False, description="Clip the value's change to the same range.")
    normalise_rewards: bool = Field(False, description="See `online`; rewards of XLand are at most 1.")
    advantage_epsilon: float = Field(0.05, ge=SMALLEST, description="See `online`; rewards of XLand are rare.")
    precision: Literal["auto", "float32", "bf16"] = Field("float32", description="Autocast precision; see `training`.")
    hidden_width: int = Field(128, gt=0, le=WIDEST, description="Width of the two hidden layers.")


class CollectionSettings(Settings):
    """Episodes of the demonstrator."""

    train_episodes: int = Field(2000, gt=0, le=MOST, description="Episodes of the train split.")
    validation_episodes: int = Field(
        200, gt=0, le=MOST, description="Episodes of the validation split (probes and held-out losses)."
    )
    test_episodes: int = Field(
        200, gt=0, le=MOST, description="Episodes of the test split; measures the demonstrator on test levels."
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
    noise: float = Field(
        0.0,
        ge=0,
        le=10,
        description="Deviation of Gaussian noise on the demonstrator's continuous actions, half the width of the space being 1.",
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
        1000, ge=10, le=1_000_000, description="XLand rulesets over all splits (80% train, 10% validation, 10% test)."
    )
    reference_episodes: int = Field(
        512,
        gt=0,
        le=MOST,
        description="Episodes, on test levels, that measure the returns of the noise-free demonstrator and of random.",
    )


class VectorExpertSettings(PpoSettings):
    """The PPO expert of Gymnasium environments that show vectors; the defaults are PPO's published settings of continuous control
    (Schulman et al. 2017; Huang et al. 2022). Observations are normalised by their running moments, which travel with the expert."""

    num_envs: int = Field(8, gt=1, le=WIDEST, description="Parallel environments, in two groups that take turns.")
    num_steps: int = Field(512, gt=0, le=WIDEST, description="Steps a rollout and environment.")
    total_steps: int = Field(1_000_000, gt=0, description="Environment steps of training.")
    epochs: int = Field(10, gt=0, le=DEEPEST, description="Passes over each rollout.")
    minibatches: int = Field(16, gt=0, le=MOST, description="Minibatches a pass.")
    learning_rate: float = Field(3e-4, gt=0, le=10, description="Adam's learning rate.")
    final_learning_rate_fraction: float = Field(
        0.0, ge=0, le=1, description="Learning rate at the end as a fraction of that at the start; linear in between."
    )
    discount: float = Field(0.99, gt=0, le=1, description="Discount factor gamma.")
    entropy_coefficient: float = Field(0.0, ge=0, description="Weight of the entropy bonus.")
    precision: Literal["auto", "float32", "bf16"] = Field("float32", description="Autocast precision; see `training`.")
    hidden_width: int = Field(
        64, gt=0, le=WIDEST, description="Width of the two hidden layers of the policy, and of those of the value."
    )
    validate_every: int = Field(25, gt=0, description="Rollouts between two evaluations on validation levels.")
    validation_episodes: int = Field(16, gt=0, le=MOST, description="Episodes of such an evaluation.")


class PixelExpertSettings(PpoSettings):
    """The PPO expert of Procgen games; the defaults are the published recipe of Procgen's easy mode."""

    source: Literal["shipped", "train"] = Field(
        "shipped",
        description="shipped: the checkpoint under resources/experts/ where the game has one, training where it has none; train: "
        "always train.",
    )
    mask_duplicate_actions: bool = Field(
        False,
        description="Take one action only of each set that does the same thing in the game; see docs/environments.md.",
    )
    network: ImpalaSettings = Field(default_factory=ImpalaSettings, description="The network.")
    validate_every: int = Field(100, gt=0, description="Rollouts between two evaluations on validation levels.")
    validation_episodes: int = Field(64, gt=0, le=MOST, description="Episodes of such an evaluation.")
