"""Settings of an environment that nobody plays: there are recordings of it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from lamflow.envs.settings import EnvironmentSettings
from lamflow.episodes.settings import AnySource
from lamflow.settings import WIDEST, Settings

RERUNS_NOTHING = "An environment's facts are among the params of the stages that it has."

SMALLEST_SIDE, LARGEST_SIDE = 32, 256
Side = Annotated[int, Field(ge=SMALLEST_SIDE, le=LARGEST_SIDE)]
Fraction = Annotated[float, Field(gt=0, lt=1)]


class FrameSettings(Settings):
    """What becomes of recorded pictures."""

    height: Side | None = Field(None, description="Of frames, in pixels; null: as recorded.")
    width: Side | None = Field(None, description="The same.")
    fit: Literal["resize", "letterbox"] = Field(
        "resize",
        description="A picture fills the frame, whatever its proportions were; or keeps them in the middle of a black frame.",
    )

    @model_validator(mode="after")
    def _both_sides(self) -> FrameSettings:
        if (self.height is None) != (self.width is None):
            raise ValueError("found one of height and width, expected both or none of them")
        return self


class SplitSettings(Settings):
    """How episodes are shared out to splits. Each episode, or each group of them, is in one split."""

    train: Fraction = Field(0.9, description="The part of the episodes, or groups, that are for training.")
    validation: Fraction | None = Field(
        None, description="The same for validation; null: half of what the others leave."
    )
    test: Fraction | None = Field(None, description="The same for the test; null: what the others leave.")
    by: Literal["episode", "group"] = Field(
        "episode",
        description="Episodes of a group stay together: of a folder, a day, a level. The source says which group an episode is of.",
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Of the draw that shares them out.")

    @model_validator(mode="after")
    def _sum_to_one(self) -> SplitSettings:
        if not all(part > 0 for part in self.fractions) or abs(sum(self.fractions) - 1) > 1e-6:
            raise ValueError(
                f"found train {self.train:g}, validation {self.fractions[1]:g} and test {self.fractions[2]:g}, expected parts above 0 that "
                "sum to 1"
            )
        return self

    @property
    def fractions(self) -> tuple[float, float, float]:
        """Of train, validation and test."""
        left = 1 - self.train
        if self.validation is not None:
            return self.train, self.validation, left - self.validation if self.test is None else self.test
        test = left / 2 if self.test is None else self.test
        return self.train, left - test, test


class RecordedSettings(EnvironmentSettings):
    """Recordings, and nobody to play: latent actions are learnt from them, and tested on those that were held out."""

    builds: ClassVar[str] = "lamflow.envs.recorded_facts:describe"

    kind: Literal["recorded"] = "recorded"
    episodes: AnySource = Field(description="Where they come from.")
    frames: FrameSettings = Field(default_factory=FrameSettings, description="What becomes of recorded pictures.")
    splits: SplitSettings = Field(
        default_factory=SplitSettings, description="How episodes are shared out to train, validation and test."
    )
    actions: int | None = Field(
        None,
        gt=1,
        le=WIDEST,
        description="How many discrete actions there are; null: those that are found. More than are found are legal, fewer are not.",
    )
    action_names: tuple[str, ...] = Field(
        (), description="Names of discrete actions, for figures; none: those that the source has, or numbers."
    )
    licence: str | None = Field(None, min_length=1, description="Terms of the recordings; null: what the source says.")

    @property
    def recordings(self) -> tuple[str, ...]:
        """The files and folders that the source reads."""
        return self.episodes.files

    @property
    def packages(self) -> tuple[str, ...]:
        """That of a source of other people."""
        module = self.episodes.implementation
        return () if module.partition(".")[0] == "lamflow" else (module,)
