"""Settings of rollouts and of the statistics over them."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field, field_validator

from lamflow.policies.settings import ActionSelection
from lamflow.settings import DEEPEST, MOST, Settings

SplitPlayed = Literal["test", "train"]
SPLITS_PLAYED: tuple[SplitPlayed, ...] = get_args(SplitPlayed)
HEADLINE: SplitPlayed = "test"
"""The split whose returns are the results."""


class EvaluationSettings(Settings):
    """Rollouts of the agents on levels that were held out, and on those of the demonstrations."""

    splits: tuple[SplitPlayed, ...] = Field(
        (HEADLINE,),
        min_length=1,
        description="Splits whose levels are played: test, whose returns are the results, and, beside it, train: levels of the "
        "demonstrations.",
    )
    episodes: int = Field(100, gt=0, le=MOST, description="Episodes an agent (label count and draw), per split.")
    action_selection: ActionSelection = Field(
        "sample", description="How an action is taken from its distribution, by methods that do not say it themselves."
    )
    during_training: int = Field(
        0,
        ge=0,
        le=DEEPEST,
        description="Evaluations of each policy while it trains, evenly over its steps and the last at their end, on levels of the "
        "validation split; 0: none. Test levels are played once, by what is trained.",
    )
    bootstrap_samples: int = Field(
        2000, gt=0, le=1_000_000, description="Resamples of the stratified bootstrap intervals."
    )

    @field_validator("splits")
    @classmethod
    def _test_levels_are_played(cls, splits: tuple[SplitPlayed, ...]) -> tuple[SplitPlayed, ...]:
        """In one order, whichever they are listed in: test levels first."""
        if HEADLINE not in splits or len(set(splits)) < len(splits):
            raise ValueError(
                f"found [{', '.join(splits)}], expected [test], or [train, test]: test levels are the result"
            )
        return tuple(split for split in SPLITS_PLAYED if split in splits)
