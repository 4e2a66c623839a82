"""LAPO's published data: a zip of npz chunks, read a chunk at a time without unpacking it, or a folder into which it was unpacked.

``<game>/{train,test}/<number>.npz`` hold T consecutive steps of one environment in ``obs`` uint8 [T, 64, 64, 3], ``ta`` (action)
[T], ``done`` [T] and ``rewards`` [T]; what else is in them is not read. A chunk's compressed bytes are held in memory and its
frames stream through a buffer of the length of its longest episode.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from lamflow.data.damage import named_damage
from lamflow.data.lapo_archive import LapoArchive
from lamflow.data.npz_file import NpyStream, NpzFile
from lamflow.data.store import UNKNOWN_LEVEL
from lamflow.envs.interface import Episode
from lamflow.envs.spec import FRAMES, EnvironmentSpec

Marks = Literal["last", "first"]
_DTYPES: Final = {
    "obs": ("u", "uint8"),
    "ta": ("iu", "an integer type"),
    "done": ("biuf", "bool"),
    "rewards": ("iuf", "float32"),
}
"""The keys that are read: kinds of numpy dtype that are taken, and what is expected."""
_CHUNK_NAME: Final = re.compile(r"(?:^|/)(?:(?P<game>[a-z]+)/)?(?P<part>train|test)/(?P<number>[0-9]{1,9})\.npz$")
_MAX_CHUNK_RATIO: Final = 2
"""A chunk is at most so many times as long as its frames are unpacked, and ``_MAX_EXTRA_BYTES``."""
_MAX_EXTRA_BYTES: Final = 1 << 20
_LARGEST: Final = float(np.finfo(np.float32).max)
_COMPARED_ENDS: Final = 8
_CLEAR_RATIO: Final = 1.5
"""How much more the frame changes at a new level than beside it; in all 16 games the medians differ 2.6 times or more."""


def chunk_names(archive: LapoArchive, game: str) -> dict[str, list[str]]:
    """Names of the chunks of ``train`` and ``test`` in the order of their numbers.

    ValueError for those of another game, two of one number, gaps in the numbers and files that are no chunks: each may be a
    chunk whose name was damaged. What systems add (hidden files, ``__MACOSX``) is left out, and counted in a printed line.
    """
    found: dict[str, dict[int, str]] = {"train": {}, "test": {}}
    left_out = 0
    for name in archive.names():
        match = _CHUNK_NAME.search(name)
        if match is None:
            _check_ours(archive, name)
            left_out += 1
            continue
        if match["game"] not in (None, game):
            raise ValueError(f"{archive.path}: found {name}, expected chunks of {game}: give the archive of that game")
        numbered, number = found[match["part"]], int(match["number"])
        if number in numbered:
            raise ValueError(f"{archive.path}: found {numbered[number]} and {name}, expected one chunk of a number")
        numbered[number] = name
    for part, numbered in found.items():
        for before, after in pairwise(sorted(numbered)):
            if after > before + 1:
                raise ValueError(
                    f"{archive.path}: found {part}/{before}.npz and then {part}/{after}.npz, expected numbers without a gap: is the "
                    "archive whole?"
                )
    if left_out:
        print(f"{archive.path}: {left_out} hidden file(s) left out")
    return {part: [name for _, name in sorted(numbered.items())] for part, numbered in found.items()}


def _check_ours(archive: LapoArchive, name: str) -> None:
    """ValueError for a file that is no chunk, unless it is one that systems add."""
    folders = name.split("/")
    if "__MACOSX" not in folders and not folders[-1].startswith("."):
        raise ValueError(
            f"{archive.path}: found {name!r}, expected chunks <game>/{{train,test}}/<number>.npz and nothing else: is the "
            "archive whole?"
        )


def chunks_of_split(
    names: dict[str, list[str]], split: str, *, train_chunks: int, validation_chunks: int, archive: Path
) -> list[str]:
    """Names of a split's chunks: test/ is the test split, the last ``validation_chunks`` of train/ are the validation split,
    and the first ``train_chunks`` of the others the train split. ValueError when there are too few."""
    if split == "test":
        chosen = names["test"]
    else:
        border = max(0, len(names["train"]) - validation_chunks)
        chosen = names["train"][border:] if split == "validation" else names["train"][:border][:train_chunks]
    if not chosen or (split == "validation" and len(names["train"]) <= validation_chunks):
        raise ValueError(
            f"{archive}: found {len(names['train'])} chunks in train/ and {len(names['test'])} in test/, expected at least one "
            f"for the {split} split, and more than {validation_chunks} (validation_chunks) in train/: is the archive whole?"
        )
    return chosen


class LapoChunk:
    """One open chunk: ``actions`` int64 [T], ``done`` bool [T], ``rewards`` float32 [T], and frames that are read in order.

    ValueError, which names the archive, the chunk and the key, for missing keys, wrong shapes or dtypes, another number of
    rows than ``num_rows``, actions that ``spec`` does not have, and damaged content.
    """

    def __init__(self, archive: LapoArchive, name: str, *, num_rows: int, spec: EnvironmentSpec) -> None:
        self.what = f"{archive.path}: {name}"
        self.num_rows = num_rows
        self.spec = spec
        self._next_row = 0
        frame_bytes = math.prod(spec.frame_shape)
        content = archive.content(name, most_bytes=_MAX_CHUNK_RATIO * num_rows * frame_bytes + _MAX_EXTRA_BYTES)
        with named_damage(self.what):
            npz = NpzFile(content)
        missing = [key for key in _DTYPES if key not in npz.keys]
        if missing:
            raise ValueError(
                f"{self.what}: key {', '.join(missing)} is missing, found {', '.join(npz.keys)}, expected {', '.join(_DTYPES)}"
            )
        self.actions = self._vector(npz, "ta").astype(np.int64)
        self.done = self._vector(npz, "done").astype(np.bool_)
        self.rewards = self._vector(npz, "rewards").astype(np.float32)
        self._frames = self._array(npz, "obs")

    def __enter__(self) -> LapoChunk:
        return self

    def __exit__(self, *problem: object) -> None:
        self._frames.__exit__(*problem)

    def rewind(self) -> None:
        """Go back to the first frame."""
        self._next_row = 0
        self._frames.rewind()

    def read_frames(self, into: NDArray[np.uint8]) -> None:
        """Fill ``into`` uint8 [n, 64, 64, 3] with the next n frames."""
        with named_damage(f"{self.what}: obs"):
            self._frames.read_into(memoryview(into.data).cast("B"))
        self._next_row += len(into)

    def frames_at(self, rows: Sequence[int]) -> NDArray[np.uint8]:
        """The frames at ``rows``, which ascend: uint8 [len(rows), 64, 64, 3]. Those between them are read and dropped."""
        kept = np.empty((len(rows), *self.spec.frame_shape), np.uint8)
        dropped = np.empty((1, *self.spec.frame_shape), np.uint8)
        for index, row in enumerate(rows):
            while self._next_row < row:
                self.read_frames(dropped)
            self.read_frames(kept[index : index + 1])
        return kept

    def check_end(self) -> None:
        """ValueError unless all frames were read and their checksum is right."""
        assert self._next_row == self.num_rows
        with named_damage(f"{self.what}: obs"):
            self._frames.check_end()

    def _array(self, npz: NpzFile, key: str) -> NpyStream:
        """The array ``key``, if it has the form that is expected."""
        with named_damage(f"{self.what}: {key}"):
            array = npz.open(key)
        self._check(key, array.shape, array.fortran, array.dtype)
        return array

    def _vector(self, npz: NpzFile, key: str) -> NDArray[Any]:
        with self._array(npz, key) as array, named_damage(f"{self.what}: {key}"):
            values = array.values()
        low, high = float(values.min()), float(values.max())
        lowest, highest = {"ta": (0, self.spec.num_actions - 1), "done": (0, 1)}.get(key, (-_LARGEST, _LARGEST))
        if not (lowest <= low and high <= highest and np.isfinite([low, high]).all()):
            raise ValueError(
                f"{self.what}: {key}: found values from {low:g} to {high:g}, expected finite ones from {lowest:g} to {highest:g}"
            )
        if key == "done" and (unclear := ~np.isin(values, (0, 1))).any():
            row = np.flatnonzero(unclear)[0]
            raise ValueError(f"{self.what}: done: found {values[row]:g} in row {row}, expected 0 or 1")
        return values

    def _check(self, key: str, shape: tuple[int, ...], fortran: bool, dtype: np.dtype[Any]) -> None:
        kinds, wanted = _DTYPES[key]
        row_shape = self.spec.frame_shape if key == "obs" else ()
        found = f"{self.what}: {key} is {dtype} {list(shape)}" + (" in Fortran order" if fortran else "")
        right_type = dtype.kind in kinds and (key != "obs" or dtype.itemsize == 1)
        if not right_type or len(shape) != 1 + len(row_shape) or shape[1:] != row_shape or (fortran and row_shape):
            raise ValueError(f"{found}, expected {wanted} {[self.num_rows, *row_shape]}")
        if shape[0] != self.num_rows:
            raise ValueError(
                f"{found}: a chunk of {shape[0]} rows, expected {self.num_rows}, the length of all chunks beside it "
                "(train_chunk_rows and test_chunk_rows in config/datasets.yaml)"
            )


@dataclass(frozen=True)
class Part:
    """Rows ``start`` to ``stop`` of a chunk; ``begins`` and ``ends``: the episode's own first and last row are among them."""

    start: int
    stop: int
    begins: bool
    ends: bool


def episode_parts(done: NDArray[np.bool_], marks: Marks) -> list[Part]:
    """Cut a chunk where its episodes end. What lies before the first end and behind the last one is cut at the chunk's border:
    the neighbouring chunk is not known to go on with it."""
    starts = np.flatnonzero(done) + (marks == "last")
    borders = sorted({0, len(done), *starts.tolist()})
    known = set(starts.tolist())
    return [Part(a, b, a in known, b in known) for a, b in pairwise(borders)]


def detect_marks(chunk: LapoChunk) -> Marks | None:
    """Which row of an episode `done` marks, by the frames: they change most from an episode's last row to the next one's first.

    None when no end lies within the chunk. Looks at the first ends and rewinds the chunk. ValueError when the frames change as
    much before a marked row as after it: then `done` marks no episodes.
    """
    marked = np.flatnonzero(chunk.done[1:-1])[:_COMPARED_ENDS] + 1
    if not len(marked):
        return None
    rows = np.unique(marked[:, None] + np.array([-1, 0, 1]))
    frames = dict(zip(rows.tolist(), chunk.frames_at(rows.tolist()).astype(np.int16), strict=True))
    chunk.rewind()
    before = float(np.median([np.abs(frames[row] - frames[row - 1]).mean() for row in marked.tolist()]))
    after = float(np.median([np.abs(frames[row + 1] - frames[row]).mean() for row in marked.tolist()]))
    if max(before, after) < _CLEAR_RATIO * min(before, after) or before == after:
        raise ValueError(
            f"{chunk.what}: frames change by {before:.1f} of 255 up to the {len(marked)} rows that done marks and by {after:.1f} "
            "after them, expected a leap on one side, where the next level begins: done does not mark episodes; if it "
            "does, set episode_marks in config/datasets.yaml"
        )
    return "last" if after > before else "first"


def chunk_episodes(chunk: LapoChunk, marks: Marks, buffer: NDArray[np.uint8]) -> Iterator[tuple[Episode, Part]]:
    """The episodes of a chunk in order, partial ones included; their frames are views into ``buffer`` and valid until the next.

    ``buffer`` uint8 [n, 64, 64, 3] is at least as long as the game's time limit. An episode cut at its end is truncated.
    ValueError for one that is longer than the game's time limit.
    """
    limit = chunk.spec.max_steps
    for part in episode_parts(chunk.done, marks):
        rows, length = slice(part.start, part.stop), part.stop - part.start
        if length > len(buffer):
            raise ValueError(
                f"{chunk.what}: found {length} rows from row {part.start} on without an end of an episode, expected at most {limit}, "
                "the game's time limit: done does not mark all ends"
            )
        frames = buffer[:length]
        chunk.read_frames(frames)
        timed_out = part.begins and length >= limit
        episode = Episode(
            observations={FRAMES: frames},
            actions=chunk.actions[rows],
            rewards=chunk.rewards[rows],
            terminated=part.ends and not timed_out,
            truncated=not part.ends or timed_out,
            level_id=UNKNOWN_LEVEL,
        )
        yield episode, part
    chunk.check_end()
