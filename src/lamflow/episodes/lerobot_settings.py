"""Settings of LeRobot's data sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, field_validator

from lamflow.episodes.settings import SourceSettings
from lamflow.settings import Name

FRAMES = "frames"
"""The part of an observation that holds the camera's pictures."""


class LeRobotSettings(SourceSettings):
    """A data set of LeRobot in a local folder, of the versions v3.0, v2.1 and v2.0. Pictures are those of one camera, in video files or in
    the parquet files. The package lerobot is not needed."""

    builds: ClassVar[str] = "lamflow.episodes.lerobot:LeRobotSource"
    kind: Literal["lerobot"] = "lerobot"
    path: str = Field(min_length=1, description="The data set's folder, in which `meta/info.json` lies.")
    camera: str | None = Field(
        None,
        min_length=1,
        description="The camera's key, such as `observation.images.top`, or its last word; null: the first one that is no depth map.",
    )
    parts: dict[Name, str] = Field(
        {},
        description="Further parts of an observation by name, each a vector of numbers: `{state: observation.state}`.",
    )
    actions: str | None = Field(
        "action",
        min_length=1,
        description="The column of the actions; null: take none. A data set without the column `action` is one without actions.",
    )

    @property
    def files(self) -> tuple[str, ...]:
        return (self.path,)

    @classmethod
    def recognised(cls, path: Path) -> Self | None:
        try:
            info = json.loads((path / "meta" / "info.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return cls(path=str(path)) if isinstance(info, dict) and "codebase_version" in info else None

    @field_validator("parts")
    @classmethod
    def _pictures_have_their_own_name(cls, parts: dict[str, str]) -> dict[str, str]:
        if FRAMES in parts:
            raise ValueError(
                f"{FRAMES} is the part that holds the camera's pictures: give {parts[FRAMES]!r} another name"
            )
        return parts
