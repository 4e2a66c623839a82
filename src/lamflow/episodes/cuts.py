"""Episodes as parts of long recordings: whole files, or from a start to an end, as a table has them or the picture leaps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from math import isfinite
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

from lamflow.episodes.tables import read_table
from lamflow.episodes.video_files import Recording

Unit = Literal["frames", "seconds"]
NEEDED, ALLOWED = ("file", "start", "end"), ("name", "group")


@dataclass(frozen=True)
class Cut:
    """An episode. ``start`` belongs to it, ``end`` does not; None: it ends with the recording. ``where``: who says so, for messages."""

    recording: Recording
    name: str
    group: str
    start: float = 0
    end: float | None = None
    unit: Unit = "frames"
    where: str = ""

    def num_frames(self, of_recording: int | None) -> int | None:
        """How many frames of the recording it has, None where only decoding tells."""
        end = of_recording if self.end is None else self.end
        return None if self.unit == "seconds" or end is None else int(end - self.start)

    def check_end(self, num_frames: int, seconds: float) -> None:
        """ValueError where it is not within a recording of so many frames, the last of which is shown until ``seconds``."""
        length = num_frames if self.unit == "frames" else seconds
        if self.start >= length or (self.end is not None and self.end > length):
            end = "its end" if self.end is None else f"{self.end:g}"
            raise ValueError(
                f"{self.where}: found an episode from {self.start:g} to {end} ({self.unit}), expected one within "
                f"{self.recording.path}, which has {num_frames} frames and lasts {seconds:.2f} seconds"
            )


def whole(recording: Recording) -> Cut:
    """A recording that is an episode."""
    return Cut(recording, recording.name, recording.group, where=str(recording.path))


def between(recording: Recording, starts: Sequence[int], num_frames: int) -> list[Cut]:
    """The parts of a recording of so many frames that begin at frame 0 and at each of ``starts``."""
    borders = pairwise([0, *starts, num_frames])
    return [
        Cut(recording, _numbered(recording, place), recording.name, start, end, where=str(recording.path))
        for place, (start, end) in enumerate(borders)
    ]


def cuts_of_table(path: Path, unit: Unit, recordings: Sequence[Recording]) -> list[Cut]:
    """In the order of the recordings and of their starts. ValueError, which names the row, counted from 1 below the header, for a file that
    there is not, and for starts and ends that are none, reversed, or overlap."""
    known = {name: recording for recording in recordings for name in _names_of(recording)}
    found = [_cut(path, row, unit, known) for row in _rows(path)]
    order = {recording: place for place, recording in enumerate(recordings)}
    found.sort(key=lambda cut: (order[cut.recording], cut.start))
    for before, after in pairwise(found):
        if before.recording == after.recording and (before.end is None or after.start < before.end):
            end = "the end of the file" if before.end is None else f"{before.end:g}"
            raise ValueError(
                f"{after.where}: found an episode of {after.recording.path} from {after.start:g} on, and in "
                f"{before.where.rpartition(': ')[2]} one from {before.start:g} to {end}, expected episodes that do not overlap"
            )
    return [cut for _, group in groupby(found, key=attrgetter("recording")) for cut in _named(list(group))]


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each row with what names it."""
    table = read_table(path, what="cuts", texts=("file", *ALLOWED))
    names = table.column_names
    if not set(NEEDED) <= set(names) <= {*NEEDED, *ALLOWED} or len(set(names)) < len(names):
        raise ValueError(
            f"{path}: found the columns {', '.join(names)}; expected {', '.join(NEEDED)}, and if wanted {' and '.join(ALLOWED)}, each once"
        )
    if table.num_rows == 0:
        raise ValueError(f"{path}: found no row, expected one per episode")
    for place, row in enumerate(table.to_pylist(), start=1):
        yield f"{path}: row {place}", row


def _cut(path: Path, named_row: tuple[str, dict[str, Any]], unit: Unit, known: dict[str, Recording]) -> Cut:
    where, row = named_row
    recording = known.get(str(row["file"]))
    if recording is None:
        some = ", ".join(list(known)[1:10:2])
        raise ValueError(f"{where}: found the file {row['file']!r}, expected one of the recordings, such as {some}")
    start, end = row["start"], row["end"]
    wanted = "whole numbers of frames" if unit == "frames" else "numbers of seconds"
    if not _counts(start, unit) or not (end is None or _counts(end, unit)):
        raise ValueError(
            f"{where}: found start {_shown(start)} and end {_shown(end)}, expected {wanted} from 0, and no end where the file ends"
            + ("; for seconds, set `unit: seconds`" if unit == "frames" else "")
        )
    if end is not None and end <= start:
        raise ValueError(
            f"{where}: found start {start:g} and end {end:g}, expected an end behind the start: it is the first that is no longer "
            "in the episode"
        )
    group = row.get("group")
    return Cut(
        recording, row.get("name") or "", recording.name if group is None else str(group), start, end, unit, where
    )


def _shown(value: Any) -> str:
    return "nothing" if value is None else f"{str(value)!r}" if not isinstance(value, int | float) else str(value)


def _counts(value: Any, unit: Unit) -> bool:
    kinds = int if unit == "frames" else (int, float)
    return isinstance(value, kinds) and not isinstance(value, bool) and isfinite(value) and value >= 0


def _names_of(recording: Recording) -> tuple[str, str]:
    return recording.name, recording.name + recording.path.suffix


def _named(cuts: list[Cut]) -> list[Cut]:
    """Cuts of one recording, with a number where the table has no name."""
    return [replace(cut, name=cut.name or _numbered(cut.recording, place)) for place, cut in enumerate(cuts)]


def _numbered(recording: Recording, place: int) -> str:
    return f"{recording.name}-{place:04d}"
