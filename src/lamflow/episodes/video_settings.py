"""Settings of video files as recorded episodes."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from lamflow.episodes.settings import SourceSettings
from lamflow.episodes.video_files import has_recordings
from lamflow.settings import MOST, Settings


class CutSettings(Settings):
    """Where long recordings are cut into episodes: by a table, or where the picture leaps."""

    table: str | None = Field(
        None,
        min_length=1,
        description="CSV or parquet file with a row per episode: `file`, `start`, `end` (the first that is no longer in it; empty: to the "
        "end of the file), and if wanted `name` and `group`. What no row names is left out.",
    )
    unit: Literal["frames", "seconds"] = Field(
        "frames", description="What `start` and `end` of the table count, from the first frame of the recording."
    )
    leaps: float | None = Field(
        None,
        gt=0,
        le=255,
        description="In place of a table: an episode begins where a frame differs from the one before it by so much in the mean over its "
        "pixels, in levels of 255, and 1.5 times as much as the frames beside it do. 20 suits games.",
    )

    @model_validator(mode="after")
    def _one_way_of_cutting(self) -> CutSettings:
        if (self.table is None) == (self.leaps is None):
            raise ValueError(f"found {'neither' if self.table is None else 'both'}, expected one of table and leaps")
        if self.leaps is not None and "unit" in self.model_fields_set:
            raise ValueError("unit: found beside leaps, expected beside table alone: leave it out")
        return self


class VideoSettings(SourceSettings):
    """Video files: mp4, webm, avi, gif, mkv, mov, m4v. A file is an episode, or is cut into several."""

    builds: ClassVar[str] = "lamflow.episodes.video:VideoSource"
    kind: Literal["video"] = "video"
    path: str = Field(
        min_length=1, description="A folder, with the folders in it, or one file. An episode has the name of its file."
    )
    every: int = Field(
        1, gt=0, le=MOST, description="Keeps each so many-th frame of an episode, from its first one on."
    )
    cuts: CutSettings | None = Field(None, description="Cuts recordings into episodes; null: a file is an episode.")
    actions: str | None = Field(
        None,
        min_length=1,
        description="CSV or parquet file with a row per frame whose action is known: `episode` (the name of the recording), `frame` (its "
        "number in the recording, from 0, before `every` and cuts), and `action`, or `action_0`, `action_1` and so on. Null: no "
        "action is known.",
    )

    @property
    def files(self) -> tuple[str, ...]:
        tables = (self.cuts.table if self.cuts else None, self.actions)
        return (self.path, *(table for table in tables if table is not None))

    @classmethod
    def recognised(cls, path: Path) -> Self | None:
        return cls(path=str(path)) if has_recordings(path) else None
