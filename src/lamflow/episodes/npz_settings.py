"""Settings of episodes that NumPy has written."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field

from lamflow.episodes.files import files_below
from lamflow.episodes.settings import SourceSettings
from lamflow.settings import Name

RERUNS_NOTHING = "A source's settings are among the params of the job that imports its episodes."

ENDINGS = (".npz", ".npy")
Key = str


class NpzSettings(SourceSettings):
    """A folder with a file per episode: .npz, or .npy of frames, whose actions are in a file of the same name with `_actions` behind it.

    Pictures are uint8 [rows, height, width, 3], or without the 3 where they are grey; other observations are numbers [rows, entries].
    Actions are whole numbers [rows], -1 where nobody knows them, or numbers [rows, entries], NaN where nobody knows them. Where there is
    one observation more than there are actions, it is the final one. Episodes in folders of the folder are of the group of that name.
    """

    builds: ClassVar[str] = "lamflow.episodes.npz:NpzSource"

    kind: Literal["npz"] = "npz"
    path: str = Field(
        min_length=1, max_length=1000, description="The folder, from the one in which the run is started."
    )
    observations: dict[Name, Key] = Field(
        default_factory=dict,
        description="Arrays that make an observation, by the names that its parts get, such as `{frames: rgb, state: qpos}`; none: "
        "`frames` is the first of observations, frames, obs and images that is there.",
    )
    main: str | None = Field(
        None, description="The part that latent action models see; null: the first picture, or the first part."
    )
    actions: Key | None = Field(None, description="The array of actions; null: actions or action, where there is one.")
    rewards: Key | None = Field(None, description="The array of rewards; null: rewards or reward, where there is one.")
    terminated: Key | None = Field(
        None,
        description="The array that is true on the last row of an episode that was not cut; null: the first of terminated, terminals, "
        "dones and done that is there.",
    )

    @property
    def files(self) -> tuple[str, ...]:
        """The folder."""
        return (self.path,)

    @classmethod
    def recognised(cls, path: Path) -> Self | None:
        """A folder of such files."""
        if path.is_dir() and any(file.suffix in ENDINGS for file in files_below(path)):
            return cls(path=str(path))
        return None
