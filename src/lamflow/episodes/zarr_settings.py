"""Settings of episodes that another experiment of lamflow has stored."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field

from lamflow.episodes.settings import SourceSettings

RERUNS_NOTHING = "A source's settings are among the params of the job that imports its episodes."

SPLITS = ("train", "validation", "test")


class ZarrSettings(SourceSettings):
    """Episode stores of lamflow, from another experiment or machine. Episodes of a level are of a group, where levels are known."""

    builds: ClassVar[str] = "lamflow.episodes.zarr:ZarrSource"

    kind: Literal["zarr"] = "zarr"
    path: str = Field(
        min_length=1,
        max_length=1000,
        description="A store, or a folder with train.zarr, validation.zarr and test.zarr, which are shared out anew, from the folder in "
        "which the run is started.",
    )

    @property
    def files(self) -> tuple[str, ...]:
        """The store, or the folder."""
        return (self.path,)

    @property
    def stores(self) -> tuple[Path, ...]:
        """The stores that are there."""
        return stores_at(Path(self.path))

    @classmethod
    def recognised(cls, path: Path) -> Self | None:
        """Such a store, or a folder of them."""
        return cls(path=str(path)) if stores_at(path) else None


def stores_at(path: Path) -> tuple[Path, ...]:
    """The store at a path, or those of the splits in it."""
    found = [path, *(path / f"{split}.zarr" for split in SPLITS)]
    return tuple(store for store in found if (store / "zarr.json").is_file())
