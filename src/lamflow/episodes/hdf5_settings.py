"""Settings of recorded episodes in HDF5 files: robomimic's and LIBERO's layout, D4RL's, or a file per episode."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from lamflow.episodes.files import files_below
from lamflow.episodes.settings import SourceSettings
from lamflow.settings import MOST, Settings

RERUNS_NOTHING = "A source's settings are among the params of the job that imports its episodes."

ENDINGS = (".hdf5", ".h5", ".hdf")
LONGEST_KEY = 1000
PART_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"
Key = Annotated[str, Field(min_length=1, max_length=LONGEST_KEY)]
Layout = Literal["auto", "robomimic", "d4rl", "file"]
Bounds = Literal["data"] | tuple[float, float]


class Hdf5Keys(Settings):
    """Where things lie: names of data sets within an episode's group (`obs/agentview_rgb`), or within the file where episodes have no
    groups. null: guessed; where that is not possible, the message lists what is there."""

    frames: Key | None = Field(
        None, description="Pictures, uint8 [rows, H, W, 3] or [rows, 3, H, W]; the part `frames` of an observation."
    )
    actions: Key | None = Field(
        None, description="Actions; null: `actions` or `action`, and none where neither is there."
    )
    rewards: Key | None = Field(None, description="Rewards; null: `rewards` or `reward`, and 0 where neither is there.")
    dones: Key | None = Field(
        None, description="1 in the last row of an episode whose task ended; null: `terminals`, `dones` and their like."
    )
    timeouts: Key | None = Field(
        None,
        description="1 in the last row of an episode that was cut; null: `timeouts`, `truncations` and their like.",
    )
    parts: dict[Annotated[str, Field(pattern=PART_NAME, max_length=100)], Key] = Field(
        default_factory=dict,
        description="Further parts of an observation, by name: vectors, or pictures of other cameras.",
    )


class Hdf5Settings(SourceSettings):
    """Episodes in HDF5 files."""

    builds: ClassVar[str] = "lamflow.episodes.hdf5:Hdf5Source"

    kind: Literal["hdf5"] = "hdf5"
    path: str = Field(
        min_length=1,
        description="A file, or a folder, in which all files that end in .hdf5, .h5 or .hdf are read, in folders of it too.",
    )
    layout: Layout = Field(
        "auto",
        description="robomimic: a group `data` with a group per episode, as LIBERO and MimicGen have it, too; d4rl: the rows of "
        "all episodes one after another, cut by flags; file: a file is one episode, as ACT records them; auto: robomimic where there is a "
        "group `data`, else d4rl.",
    )
    keys: Hdf5Keys = Field(default_factory=Hdf5Keys, description="Where things lie in the files.")
    main: str | None = Field(
        None,
        min_length=1,
        description="The part that latent action models see; null: `frames`, or the only part.",
    )
    action_bounds: Bounds = Field(
        "data",
        description="Lowest and highest value of every entry of a continuous action, such as [-1, 1]; data: those of each entry in the "
        "data.",
    )
    episode_length: int | None = Field(
        None, gt=0, le=MOST, description="Rows per episode, for layout d4rl without flags; the last one may be shorter."
    )

    @property
    def files(self) -> tuple[str, ...]:
        return (self.path,)

    @field_validator("action_bounds")
    @classmethod
    def _ascend(cls, given: Bounds) -> Bounds:
        if given != "data" and not given[0] < given[1]:
            raise ValueError(f"found {list(given)}, expected the lowest value, and then a higher one")
        return given

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if "frames" in self.keys.parts:
            raise ValueError("keys.parts: found a part named frames: that is `keys.frames`")
        if self.episode_length is not None and self.layout in ("robomimic", "file"):
            raise ValueError(
                f"episode_length: found {self.episode_length} with layout {self.layout}, whose episodes have borders: leave it out"
            )
        return self

    @classmethod
    def recognised(cls, path: Path) -> Self | None:
        """Where it is an HDF5 file, or a folder with some, that has a layout of these; no data set of Minari."""
        files = [path] if path.is_file() else sorted(file for file in files_below(path) if file.suffix in ENDINGS)
        if not files or files[0].suffix not in ENDINGS or (files[0].with_name("metadata.json").exists()):
            return None
        from lamflow.episodes.hdf5_file import layout_at

        layout = layout_at(files[0])
        if layout is None:  # no other source reads such a file: what is wrong with it is said when it is described
            return cls(path=str(path)) if path.is_file() else None
        is_clear = layout == "robomimic" or (layout == "file" and len(files) > 1)
        return cls(path=str(path), layout=layout if is_clear else "auto")
