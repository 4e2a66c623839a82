"""Settings of episodes that are folders of pictures."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field

from lamflow.episodes.files import files_below
from lamflow.episodes.settings import SourceSettings

RERUNS_NOTHING = "A source's settings are among the params of the job that imports its episodes."

LOSSY_ENDINGS = (".jpg", ".jpeg", ".webp")
ENDINGS = (".png", *LOSSY_ENDINGS, ".bmp")


class ImagesSettings(SourceSettings):
    """A folder of pictures per episode, in the natural order of their names. The folder in which an episode's folder lies is its group."""

    builds: ClassVar[str] = "lamflow.episodes.images:ImagesSource"

    kind: Literal["images"] = "images"
    path: str = Field(
        min_length=1,
        max_length=1000,
        description="The folder of these folders, at any depth, from the one in which the run is started.",
    )
    every: int = Field(1, gt=0, le=10_000, description="Takes each n-th picture.")
    actions: str | None = Field(
        None,
        min_length=1,
        max_length=1000,
        description="A CSV or parquet file of actions, with the columns episode, frame and action, or action_0, action_1 and so on. Frames "
        "are counted from 0, those between the ones that `every` takes as well. Pictures that it has no row of have no known action.",
    )

    @property
    def files(self) -> tuple[str, ...]:
        """The folder, and the table."""
        return (self.path, *([self.actions] if self.actions else []))

    @classmethod
    def recognised(cls, path: Path) -> Self | None:
        """A folder with pictures in its folders."""
        files = (file for file in files_below(path) if file.suffix.lower() in ENDINGS) if path.is_dir() else iter(())
        return cls(path=str(path)) if list(islice(files, 1)) else None
