"""The typed model of ``config/datasets.yaml``: where published data sets come from, and how they become splits."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from lamflow.envs.presets import preset
from lamflow.settings import Settings
from lamflow.settings_errors import read_settings

EpisodeMarks = Literal["auto", "last", "first"]
SourceName = Literal["lapo", "dgrl"]


class ArchiveSource(Settings):
    """One archive, its origin and what is known of it; its file's name ends in ``ending``."""

    ending: ClassVar[str] = ""
    urls: tuple[str, ...] = Field(description="Addresses, tried in their order; Google Drive is read through gdown.")
    path: Path | None = Field(None, description="A copy that this machine has already; nothing is downloaded then.")
    licence: str = Field(min_length=1, description="Terms under which the data are published.")
    version: str = Field(description="What its publisher calls this version.")
    size: int | None = Field(None, gt=0, description="Bytes; null: recorded at the first download.")
    sha256: str | None = Field(
        None, pattern=r"^[0-9a-f]{64}$", description="Digest of the file; null: recorded at the first download."
    )
    verified: bool = Field(False, description="The addresses were seen to give this file.")
    return_expert: float | None = Field(
        None, description="Mean raw return of the demonstrator; null: that of the archive's test split."
    )
    return_random: float | None = Field(None, description="Mean raw return of random actions.")

    @field_validator("path")
    @classmethod
    def _ends_as_its_kind(cls, given: Path | None) -> Path | None:
        if given is not None and not given.name.endswith(cls.ending) and not cls._is_unpacked(given):
            raise ValueError(f"found {str(given)!r}, expected a file whose name ends in {cls.ending}: rename it")
        return given

    @classmethod
    def _is_unpacked(cls, path: Path) -> bool:
        """Whether it is a folder into which an archive of this kind was unpacked, where such are read."""
        return False

    @model_validator(mode="after")
    def _demonstrator_is_above_random(self) -> ArchiveSource:
        random, expert = self.return_random, self.return_expert
        if random is not None and expert is not None and not random < expert:
            raise ValueError(f"return_expert: found {expert}, expected more than the {random} of return_random")
        return self


class LapoSource(ArchiveSource):
    """LAPO's published chunks of one game, a zip. ``path`` may be a folder into which it was unpacked: ``expert_data``, the folder that
    holds it, or that of the game in it."""

    ending: ClassVar[str] = ".zip"

    train_chunks: int = Field(80, gt=0, description="Chunks of the train split, from the first one; LAPO uses 80.")
    validation_chunks: int = Field(1, gt=0, description="Chunks of the validation split: the last ones of train/.")
    train_chunk_rows: int = Field(32_768, gt=0, description="Frames of each chunk of train/.")
    test_chunk_rows: int = Field(4_096, gt=0, description="Frames of each chunk of test/.")
    episode_marks: EpisodeMarks = Field(
        "auto",
        description="The row of an episode that `done` marks: last or first; auto: as the frames say, which change most "
        "where a new level begins.",
    )

    @classmethod
    def _is_unpacked(cls, path: Path) -> bool:
        return not path.suffix or path.is_dir()

    @model_validator(mode="after")
    def _only_zips_have_a_digest(self) -> LapoSource:
        if self.path is not None and not self.path.name.endswith(self.ending) and (self.size or self.sha256):
            raise ValueError(
                f"path: found the folder {str(self.path)!r} with a size or sha256, which are those of a zip: leave these out, or give "
                "the zip"
            )
        return self


class DgrlSource(ArchiveSource):
    """Episodes of one game as 'The Generalization Gap in Offline RL' publishes them, a tar.xz."""

    ending: ClassVar[str] = ".tar.xz"

    train_levels: tuple[int, int] = Field(
        (0, 160), description="Level seeds of the train split: first, and one past the last."
    )
    validation_levels: tuple[int, int] = Field((160, 180), description="Level seeds of the validation split.")
    test_levels: tuple[int, int] = Field((180, 200), description="Level seeds of the test split.")

    @model_validator(mode="after")
    def _splits_share_no_level(self) -> DgrlSource:
        ranges = sorted([self.train_levels, self.validation_levels, self.test_levels])
        if any(start >= stop for start, stop in ranges):
            raise ValueError(f"levels: found {ranges}, expected ranges whose first level is below their end")
        for (_, stop), (start, _) in pairwise(ranges):
            if start < stop:
                raise ValueError(f"levels: found {ranges}, expected ranges that share no level")
        return self

    def split_of(self, level: int) -> str | None:
        """The split of a level seed, None where it is in none."""
        for split in ("train", "validation", "test"):
            start, stop = getattr(self, f"{split}_levels")
            if start <= level < stop:
                return split
        return None


class DataSources(Settings):
    """Published data sets by environment."""

    lapo: dict[str, LapoSource] = Field(description="LAPO's data.")
    dgrl: dict[str, DgrlSource] = Field(description="Archives of 'The Generalization Gap in Offline RL'.")

    @field_validator("lapo", "dgrl")
    @classmethod
    def _known_environments(cls, given: dict[str, ArchiveSource]) -> dict[str, ArchiveSource]:
        for env in given:
            preset(env)
        return given

    def source_of(self, name: SourceName, env: str) -> LapoSource | DgrlSource:
        """The archive of ``env`` in the data set ``name``; ValueError names what it has."""
        sources: dict[str, LapoSource] | dict[str, DgrlSource] = getattr(self, name)
        if env not in sources:
            raise ValueError(
                f"collection.source: {name} has no episodes of {env}; it has {', '.join(sources)}; add it to "
                "config/datasets.yaml or choose another source"
            )
        return sources[env]


def archive_path(name: SourceName, env: str, source: ArchiveSource) -> Path:
    """Where the archive lies, or is downloaded to, relative to the working folder: ``resources/lapo/<game>.zip``."""
    return source.path or Path("resources", name, preset(env).simulator_id.split("/")[0] + source.ending)


def read_sources(path: Path) -> DataSources:
    """Read and validate ``config/datasets.yaml``; ValueError lists each bad key with its value and what is allowed."""
    return read_settings(path, DataSources)
