"""Settings of recorded episodes of Minari, Farama's format of offline data sets."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from lamflow.episodes.settings import SourceSettings

RERUNS_NOTHING = "A source's settings are among the params of the job that imports its episodes."

METADATA = "metadata.json"
Bounds = Literal["space", "data"] | tuple[float, float]


class MinariSettings(SourceSettings):
    """A data set of Minari, in its HDF5, arrow or parquet layout. Nothing is downloaded."""

    builds: ClassVar[str] = "lamflow.episodes.minari:MinariSource"

    kind: Literal["minari"] = "minari"
    path: str | None = Field(
        None,
        min_length=1,
        description="The data set's folder, which holds the folder `data`; or `id` says which it is.",
    )
    id: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="`namespace/name-v0` of a data set that `minari download` has fetched to this machine.",
    )
    parts: tuple[str, ...] | None = Field(
        None, min_length=1, description="The parts of a Dict space that are read; null: all but text."
    )
    main: str | None = Field(
        None,
        min_length=1,
        description="The part that latent action models see; null: the first picture, or the only part.",
    )
    action_bounds: Bounds = Field(
        "space",
        description="Lowest and highest value of every entry of a continuous action, such as [-1, 1]; space: those of the action space, or "
        "of the data where it has none; data: those of each entry in the data.",
    )

    @property
    def folder(self) -> Path:
        """The data set's, which holds ``data``. Minari keeps those that it fetches where ``MINARI_DATASETS_PATH`` says."""
        if self.path is not None:
            path = Path(self.path)
            return path.parent if path.name == "data" and (path / METADATA).exists() else path
        assert self.id is not None
        kept = os.environ.get("MINARI_DATASETS_PATH")
        return (Path(kept) if kept else Path.home() / ".minari" / "datasets") / self.id

    @property
    def files(self) -> tuple[str, ...]:
        return (str(self.folder),)

    @field_validator("action_bounds")
    @classmethod
    def _ascend(cls, given: Bounds) -> Bounds:
        if not isinstance(given, str) and not given[0] < given[1]:
            raise ValueError(f"found {list(given)}, expected the lowest value, and then a higher one")
        return given

    @model_validator(mode="after")
    def _names_one_data_set(self) -> Self:
        if (self.path is None) == (self.id is None):
            raise ValueError(
                f"path, id: found path {self.path!r} and id {self.id!r}, expected one of the two: the data set's folder, or its name"
            )
        return self

    @classmethod
    def recognised(cls, path: Path) -> Self | None:
        """Where it is the folder of a data set, or its folder ``data``."""
        for folder, root in ((path / "data", path), (path, path.parent)):
            if (folder / METADATA).is_file() and _is_of_minari(folder / METADATA):
                return cls(path=str(root))
        return None


def _is_of_minari(metadata: Path) -> bool:
    try:
        read: Any = json.loads(metadata.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(read, dict) and {"data_format", "total_episodes"} <= read.keys()
