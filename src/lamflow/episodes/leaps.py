"""Where the picture of a recording leaps, as it does when another episode begins.

A leap is a step that changes the frame much, and clearly more than the steps beside it do: a fast scene changes in every step. In LAPO's
recordings of Procgen's games the frame changes by 20 to 74 levels of 255 in the mean at a new level, and by 0 to 27 in other steps.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lamflow.caches import cache_folder
from lamflow.episodes.decoding import pictures
from lamflow.episodes.fit import FrameFit
from lamflow.kept_answers import KeptAnswers

CLEAR_RATIO = 1.5
COMPARED_SIDE = 64


class Leaps(NamedTuple):
    """Of one recording. ``starts``: the frames behind leaps."""

    num_frames: int
    starts: tuple[int, ...]


def leaps_in(paths: Iterable[Path], least: float) -> Iterator[Leaps]:
    """Of one recording after another, found by decoding all of it once, and kept for the next process while the file stays as it is."""
    folder = cache_folder("leaps")
    kept = KeptAnswers(folder / "leaps.json" if folder else None, lambda answer: Leaps(answer[0], tuple(answer[1])))
    for path in paths:
        key = _key(path, least)
        if key not in kept:
            print(f"{path}: looks for leaps in all frames, once", file=sys.stderr, flush=True)
            changes = list(_changes(path))
            kept[key] = Leaps(len(changes), tuple(leaping(changes, least)))
            print(f"{path}: {len(changes)} frames, {len(kept[key].starts)} leaps", file=sys.stderr, flush=True)
            kept.is_new = True
            kept.save()
        yield kept[key]


def leaping(changes: Iterable[float], least: float) -> Iterator[int]:
    """The steps that are leaps, of the changes that steps make; a step is ``least`` at least, and ``CLEAR_RATIO`` times its neighbours."""
    padded = np.array([0.0, *changes, 0.0])
    beside = np.maximum(padded[:-2], padded[2:])
    yield from np.flatnonzero((padded[1:-1] >= least) & (padded[1:-1] >= CLEAR_RATIO * beside)).tolist()


def _changes(path: Path) -> Iterator[float]:
    """By how many levels of 255 each frame differs from the one before it, in the mean over its pixels; 0 for the first."""
    fit, before = FrameFit(COMPARED_SIDE, COMPARED_SIDE), None
    for picture in pictures(path):
        frame = picture.turn.frame(picture.image, fit).astype(np.int16)
        yield 0.0 if before is None else float(np.abs(frame - before).mean())
        before = frame


def _key(path: Path, least: float) -> str:
    file = path.stat()
    asked = (str(path.resolve()), file.st_size, file.st_mtime_ns, least, CLEAR_RATIO, COMPARED_SIDE)
    return hashlib.sha256(repr(asked).encode()).hexdigest()
