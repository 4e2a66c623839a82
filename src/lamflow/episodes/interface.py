"""What every source of recorded episodes does.

Shapes: n rows of a piece of an episode. A row t holds the observation o_t, the action taken in it, and what that action gave.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from numpy.typing import NDArray

from lamflow.spaces import ActionSpace, Part


@dataclass(frozen=True)
class EpisodeEntry:
    """An episode as a source lists it. ``rows``: how many it has, None where only decoding tells; ``group``: what splits may keep
    together, such as the day of the recording; ``labelled``: whether the action of any row is known, None where that is the same for all
    episodes, or only reading tells. Splits share out the labelled ones by themselves."""

    name: str
    rows: int | None = None
    group: str = ""
    labelled: bool | None = None


@dataclass(frozen=True)
class Described:
    """What a source holds, found without decoding all of it.

    ``observation``: the parts of an observation by name, pictures as ``fit`` makes them; ``main``: the part that latent action models see;
    ``action``: None where no row has an action; ``final_observations``: an episode of L actions has L + 1 rows; ``lossy``: the pictures
    went through a lossy codec; ``notes``: what a person should know before using it, a sentence each, such as an action that never changes.
    """

    observation: Mapping[str, Part]
    main: str
    action: ActionSpace | None
    episodes: tuple[EpisodeEntry, ...]
    final_observations: bool = False
    lossy: bool = False
    frames_per_second: float | None = None
    action_names: tuple[str, ...] = ()
    licence: str = "unknown"
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Further facts, as JSON can hold them, which stand in the store: the codec, the frame size as it was recorded."""


@dataclass(frozen=True)
class Piece:
    """Rows of an episode that follow one another.

    ``observations``: their parts [n, ...]; ``actions`` int64 [n] or float32 [n, A], None where none has one; ``labelled`` bool [n]: whose
    actions are known, None: all that have one; ``rewards`` float32 [n], None: 0. The action of an episode's final observation, where there
    is such a row, does not count.
    """

    observations: Mapping[str, NDArray[Any]]
    actions: NDArray[Any] | None = None
    labelled: NDArray[Any] | None = None
    rewards: NDArray[Any] | None = None


@dataclass(frozen=True)
class RecordedEpisode:
    """An episode in pieces, of some megabytes each, which are made when they are asked for: one may be an hour of video.

    ``terminated``: its last action led to the end of its task; else the recording was cut there.
    """

    entry: EpisodeEntry
    pieces: Iterator[Piece]
    terminated: bool = False


class Source(Protocol):
    """Recorded episodes. All it says is a function of its files and settings; it reads an episode once and in order, in bounded memory."""

    def describe(self) -> Described:
        """ValueError where the files cannot be used: it names the file, episode and row, what was found, what was expected, and what to
        do."""
        ...

    def episodes(self, names: Collection[str] | None = None) -> Iterator[RecordedEpisode]:
        """The episodes of these names, or all, in the order of ``describe``; the pieces of one are read before the next is asked for.
        ValueError as in ``describe``."""
        ...
