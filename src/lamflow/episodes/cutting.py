"""Which pictures of a recording belong to which of its episodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from lamflow.episodes.cuts import Cut
from lamflow.episodes.decoding import Picture


def kept_pictures(
    found: Iterable[Picture], cuts: Sequence[Cut], every: int, rate: float
) -> Iterator[tuple[Cut, Picture]]:
    """Of each cut, which ascend and do not overlap, its first picture and each ``every``-th behind it; ``rate``: frames per second. No more
    pictures are asked for than are needed. ValueError, at the end of the recording, where it ends before a cut does, and for a cut in
    which there is no picture."""
    coming = list(cuts)
    first: int | None = None
    last: Picture | None = None
    for picture in found:
        last = picture
        while coming and _is_behind(coming[0], picture, rate):
            _check_found(coming.pop(0), first)
            first = None
        if not coming:
            return
        if _position(coming[0], picture, rate) >= coming[0].start:
            first = picture.number if first is None else first
            if (picture.number - first) % every == 0:
                yield coming[0], picture
        if len(coming) == 1 and coming[0].unit == "frames" and picture.number + 1 == coming[0].end:
            return
    assert last is not None
    for cut in coming:
        cut.check_end(last.number + 1, last.seconds + 1.5 / rate)
        _check_found(cut, first)
        first = None


def _position(cut: Cut, picture: Picture, rate: float) -> float:
    """What is compared with a cut's start and end. Times are written with few digits: half a frame is allowed."""
    return picture.number if cut.unit == "frames" else picture.seconds + 0.5 / rate


def _is_behind(cut: Cut, picture: Picture, rate: float) -> bool:
    return cut.end is not None and _position(cut, picture, rate) >= cut.end


def _check_found(cut: Cut, first: int | None) -> None:
    if first is None:
        end = "the end" if cut.end is None else f"{cut.end:g}"
        raise ValueError(
            f"{cut.where}: found no frame of {cut.recording.path} from {cut.start:g} to {end} ({cut.unit}), expected at least one: is "
            "the end too close to the start?"
        )
