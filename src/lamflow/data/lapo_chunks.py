"""LAPO's published data: a zip of npz chunks, read a chunk at a time without unpacking it.

``<game>/{train,test}/<number>.npz`` hold T consecutive steps of one environment in ``obs`` uint8 [T, 64, 64, 3], ``ta`` (action)
[T], ``done`` [T] and ``rewards`` [T]; what else is in them is not read. A chunk's compressed bytes are held in memory and its
frames stream through a buffer of the length of its longest episode.
"""

from __future__ import annotations

import io
import re
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from lamflow.catalogue import EnvironmentSpec
from lamflow.data.store import UNKNOWN_LEVEL
from lamflow.data.zip_member import MemberReader
from lamflow.envs.interface import Episode

Marks = Literal["last", "first"]
_DTYPES: Final = {
    "obs": ("u", "uint8"),
    "ta": ("iu", "an integer type"),
    "done": ("biuf", "bool"),
    "rewards": ("iuf", "float32"),
}
"""The keys that are read: kinds of numpy dtype that are taken, and what is expected."""
DAMAGE: Final = (zipfile.BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError, RuntimeError)
"""What zipfile raises for damaged, truncated and encrypted archives."""
_CHUNK_NAME: Final = re.compile(r"(?:^|/)(?:(?P<game>[a-z]+)/)?(?P<part>train|test)/(?P<number>\d+)\.npz$")
_COPIED_BYTES: Final = 1 << 20
_COMPARED_ENDS: Final = 8
_CLEAR_RATIO: Final = 1.5
"""How much more the frame changes at a new level than beside it; in all 16 games the medians differ 2.6 times or more."""


@contextmanager
def named_damage(what: str) -> Iterator[None]:
    """Turns what zipfile and numpy raise for damaged content into a ValueError that begins with ``what``."""
    try:
        yield
    except DAMAGE as error:
        raise ValueError(
            f"{what}: damaged or cut off ({type(error).__name__}: {error}), expected a whole zip: delete the archive and "
            "download it again"
        ) from None


def chunk_names(archive: zipfile.ZipFile, game: str) -> dict[str, list[str]]:
    """Names of the chunks of ``train`` and ``test`` in the order of their numbers; ValueError for those of another game."""
    found: dict[str, list[tuple[int, str]]] = {"train": [], "test": []}
    for name in archive.namelist():
        match = _CHUNK_NAME.search(name)
        if match is None:
            continue
        if match["game"] not in (None, game):
            raise ValueError(
                f"{archive.filename}: found {name}, expected chunks of {game}: give the archive of that game"
            )
        found[match["part"]].append((int(match["number"]), name))
    return {part: [name for _, name in sorted(numbered)] for part, numbered in found.items()}


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

    def __init__(self, archive: zipfile.ZipFile, name: str, *, num_rows: int, spec: EnvironmentSpec) -> None:
        self.what = f"{archive.filename}: {name}"
        self.num_rows = num_rows
        self.spec = spec
        self._next_row = 0
        with ExitStack() as opened, named_damage(self.what):
            content = opened.enter_context(io.BytesIO())
            with archive.open(name) as stored:
                shutil.copyfileobj(stored, content, _COPIED_BYTES)
            self._npz = opened.enter_context(zipfile.ZipFile(content))
            keys = [key.removesuffix(".npy") for key in self._npz.namelist()]
            missing = [key for key in _DTYPES if key not in keys]
            if missing:
                raise ValueError(
                    f"{self.what}: key {', '.join(missing)} is missing, found {', '.join(keys)}, expected {', '.join(_DTYPES)}"
                )
            self.actions = self._vector("ta").astype(np.int64)
            self.done = self._vector("done").astype(np.bool_)
            self.rewards = self._vector("rewards").astype(np.float32)
            self._frames = opened.enter_context(MemberReader(content, self._npz.getinfo("obs.npy")))
            self._check("obs", *npy_header(self._frames))
            self._open = opened.pop_all()

    def __enter__(self) -> LapoChunk:
        return self

    def __exit__(self, *problem: object) -> None:
        self._open.close()

    def rewind(self) -> None:
        """Go back to the first frame."""
        self._next_row = 0
        self._frames.rewind()
        npy_header(self._frames)

    def read_frames(self, into: NDArray[np.uint8]) -> None:
        """Fill ``into`` uint8 [n, 64, 64, 3] with the next n frames."""
        target = memoryview(into.data).cast("B")
        with named_damage(f"{self.what}: obs"):
            while target:
                count = self._frames.readinto(target)
                if not count:
                    raise EOFError("its frames end early")
                target = target[count:]
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
        with named_damage(f"{self.what}: obs"):
            if self._next_row != self.num_rows or self._frames.read(1):
                raise EOFError(f"read {self._next_row} frames, expected {self.num_rows} and nothing after them")

    def _vector(self, key: str) -> NDArray[Any]:
        with self._npz.open(f"{key}.npy") as stored:
            shape, fortran, dtype = npy_header(stored)
            self._check(key, shape, fortran, dtype)
            content = stored.read()
        if len(content) != self.num_rows * dtype.itemsize:
            raise EOFError(f"{key} has {len(content)} bytes of data, expected {self.num_rows * dtype.itemsize}")
        values = np.frombuffer(content, dtype)
        low, high = float(values.min()), float(values.max())
        lowest, highest = {"ta": (0, self.spec.num_actions - 1), "done": (0, 1)}.get(key, (-np.inf, np.inf))
        if not (lowest <= low and high <= highest and np.isfinite([low, high]).all()):
            raise ValueError(
                f"{self.what}: {key}: found values from {low:g} to {high:g}, expected finite ones from {lowest:g} to {highest:g}"
            )
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


def npy_header(stored: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, Fortran order and dtype of an npy file, read up to its data; EOFError for what is none."""
    try:
        version = np.lib.format.read_magic(stored)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        header: tuple[tuple[int, ...], bool, np.dtype[Any]] = read(stored)
    except ValueError as error:
        raise EOFError(f"no npy array: {error}") from None
    return header


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
    nothing = np.zeros((len(buffer), 0), np.uint8)
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
            frames=frames,
            proprioception=nothing[:length],
            task=nothing[:length],
            actions=chunk.actions[rows],
            rewards=chunk.rewards[rows],
            terminated=part.ends and not timed_out,
            truncated=not part.ends or timed_out,
            level_id=UNKNOWN_LEVEL,
        )
        yield episode, part
    chunk.check_end()
