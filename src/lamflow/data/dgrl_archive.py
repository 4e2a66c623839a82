"""Procgen episodes of "The Generalization Gap in Offline RL" (Mediratta et al., arXiv 2312.05742): a tar.xz, read as a stream.

One file an episode, ``<timestamp>_<index>_<length>_<levelseed>_<return>.npy``, holds a pickled dict of ``observations`` [T + 1 or T,
3, 64, 64], ``actions`` [T] or [T, 1], ``rewards`` the same and ``dones`` [T]; ``.npz`` files of the same keys are read as well.
Pickles are read with an unpickler that knows numpy arrays and nothing else.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from lamflow.data.damage import named_damage
from lamflow.data.npz_file import NpzFile, npy_header
from lamflow.data.tar_stream import WHOLE, tar_xz_files
from lamflow.envs.interface import Episode
from lamflow.envs.spec import FRAMES, EnvironmentSpec

_EPISODE_NAME: Final = re.compile(
    r"(?:^|/)(?P<time>[^_/]+)_(?P<index>[0-9]+)_(?P<length>[0-9]{1,9})_(?P<level>-?[0-9]{1,18})_(?P<total>-?[0-9]{1,18}(?:\.[0-9]{0,18})?)"
    r"\.(?:npy|npz)$"
)
_NAMES: Final = {
    "obs": ("observations", "obs"),
    "actions": ("actions",),
    "rewards": ("rewards",),
    "dones": ("dones", "done"),
}
"""What is read of an episode, and the keys that it may stand under."""
_CORES: Final = ("numpy.core", "numpy._core")
_ADMITTED: Final = frozenset(
    {("numpy", "ndarray"), ("numpy", "dtype")}
    | {(f"{core}.multiarray", name) for core in _CORES for name in ("_reconstruct", "scalar")}
    | {(f"{core}.numeric", "_frombuffer") for core in _CORES}
)
"""All that a pickled array, scalar or dtype of numpy 1 and 2 refers to."""
_MAX_EPISODE_BYTES: Final = 1 << 30
_MAX_EXTRA_BYTES: Final = 1 << 20
_MEMO_OPCODES: Final = ("PUT", "BINPUT", "LONG_BINPUT")
_MAX_MEMO: Final = 1 << 16
"""An unpickler makes room for as many objects as these opcodes say; an episode has a few dozen."""
_RETURN_TOLERANCE: Final = 0.02
"""Returns in file names have two decimals."""


@dataclass(frozen=True)
class NamedEpisode:
    """What a file's name tells of its episode; ``total`` is the return."""

    length: int
    level: int
    total: float


class _ArrayUnpickler(pickle.Unpickler):
    """Admits numpy arrays, scalars and the built-in containers, which need no import; nothing can be called but numpy's own
    constructors."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(
                f"it wants {module}.{name}, and only numpy arrays are admitted; nothing was run"
            )
        return super().find_class(module, name)


def named_episode(name: str) -> NamedEpisode | None:
    """What a file name in the archive tells, None where it names no episode."""
    match = _EPISODE_NAME.search(name)
    if match is None or int(match["length"]) == 0:
        return None
    return NamedEpisode(int(match["length"]), int(match["level"]), float(match["total"]))


def read_episodes(archive: Path, spec: EnvironmentSpec) -> Iterator[tuple[NamedEpisode, _StoredEpisode]]:
    """The episodes of an archive in its order, one in memory at a time; those that are not ``decode``d cost no parsing.

    ValueError names the archive and the file: for a damaged or truncated archive, names that tell no episode, an episode twice,
    what is neither file nor folder, and archives without any episode. Hidden files are left out, and counted in a printed line.
    """
    names: set[str] = set()
    left_out = 0
    for member, stream in tar_xz_files(archive):
        name = Path(member.name)
        if name.name.startswith("."):
            left_out += 1
            continue
        if name.stem in names:
            raise ValueError(f"{archive}: {member.name}: found this episode twice, expected each once")
        names.add(name.stem)
        yield _opened(f"{archive}: {member.name}", member, stream, spec)
    if not names:
        raise ValueError(f"{archive}: found no file in it, expected episodes: give an archive of the data set")
    if left_out:
        print(f"{archive}: {left_out} hidden file(s) left out")


def _opened(
    what: str, member: tarfile.TarInfo, stream: IO[bytes], spec: EnvironmentSpec
) -> tuple[NamedEpisode, _StoredEpisode]:
    named = named_episode(member.name)
    if named is None:
        raise ValueError(
            f"{what}: expected a name <timestamp>_<index>_<length>_<levelseed>_<return>.npy with a length of 1 or more: is this the "
            "data set?"
        )
    most = min(_MAX_EPISODE_BYTES, (named.length + 1) * _most_row_bytes(spec) + _MAX_EXTRA_BYTES)
    if member.size > most:
        raise ValueError(
            f"{what}: found {member.size} bytes, expected at most {most} for an episode of {named.length} steps"
        )
    return named, _StoredEpisode(what, named, stream, spec)


def _most_row_bytes(spec: EnvironmentSpec) -> int:
    """Of a row whose frame, action, reward and end are numbers of 8 bytes, the widest, and as much again for what is not read."""
    return 2 * 8 * (math.prod(spec.frame_shape) + 3)


class _StoredEpisode:
    """An episode that is still in the archive; it can be decoded until the next one is asked for."""

    def __init__(self, what: str, named: NamedEpisode, stream: IO[bytes], spec: EnvironmentSpec) -> None:
        self._what = what
        self._named = named
        self._stream = stream
        self._spec = spec

    def decode(self) -> Episode:
        """The episode without its final observation; ValueError when it is hostile, damaged or not as its name says."""
        with named_damage(self._what, WHOLE):
            content = self._stream.read()
        most = (self._named.length + 1) * _most_row_bytes(self._spec)
        arrays = _episode_arrays(content, self._what, most_bytes=most)
        length = self._named.length
        actions = self._column("actions", arrays["actions"], "iu")
        if actions.min() < 0 or actions.max() >= self._spec.num_actions:
            raise ValueError(
                f"{self._what}: actions: found {actions.min()} to {actions.max()}, expected 0 to {self._spec.num_actions - 1}"
            )
        rewards = self._column("rewards", arrays["rewards"], "iuf").astype(np.float32)
        stored = self._column("dones", arrays["dones"], "biuf")
        if (unclear := ~np.isin(stored, (0, 1))).any():
            row = np.flatnonzero(unclear)[0]
            raise ValueError(f"{self._what}: dones: found {stored[row]:g} in row {row}, expected 0 or 1")
        dones = stored.astype(np.bool_)
        frames = self._frames(arrays["obs"])
        total = float(rewards.sum(dtype=np.float64))
        if dones[:-1].any():
            raise ValueError(
                f"{self._what}: dones: row {np.flatnonzero(dones)[0]} of {length} ends the episode, expected the last"
            )
        if not abs(total - self._named.total) <= _RETURN_TOLERANCE:
            raise ValueError(
                f"{self._what}: rewards: found a return of {total:.2f}, expected that of the name, {self._named.total}"
            )
        timed_out = length >= self._spec.max_steps
        return Episode(
            observations={FRAMES: frames},
            actions=actions.astype(np.int64),
            rewards=rewards,
            terminated=bool(dones[-1]) and not timed_out,
            truncated=not dones[-1] or timed_out,
            level_id=self._named.level,
        )

    def _column(self, key: str, values: NDArray[Any], kinds: str) -> NDArray[Any]:
        length = self._named.length
        if values.dtype.kind not in kinds or values.shape not in ((length,), (length, 1)):
            raise ValueError(
                f"{self._what}: {key} is {values.dtype} {list(values.shape)}, expected numbers [{length}], the length in its name"
            )
        return values.reshape(length)

    def _frames(self, stored: NDArray[Any]) -> NDArray[np.uint8]:
        """[T + 1 or T, 3, 64, 64], bytes or floats of whole numbers, as uint8 [T, 64, 64, 3]."""
        length, (height, width, channels) = self._named.length, self._spec.frame_shape
        shape = (channels, height, width)
        if stored.dtype.kind not in "uif" or stored.shape not in ((length, *shape), (length + 1, *shape)):
            raise ValueError(
                f"{self._what}: obs is {stored.dtype} {list(stored.shape)}, expected uint8 {[length, *shape]} or one row more"
            )
        frames = stored[:length].astype(np.uint8)
        if stored.dtype != np.uint8 and (frames != stored[:length]).any():
            raise ValueError(f"{self._what}: obs: found values that are no bytes, expected whole numbers from 0 to 255")
        return np.ascontiguousarray(frames.transpose(0, 2, 3, 1))


def _episode_arrays(content: bytes, what: str, *, most_bytes: int) -> dict[str, NDArray[Any]]:
    """The arrays of an episode by our names, of ``most_bytes`` each where they are packed; ValueError names what is missing,
    hostile or damaged."""
    if content.startswith(b"PK"):
        try:
            stored = _npz_arrays(content, most_bytes)
        except Exception as error:  # whatever zipfile, zlib and numpy raise for damage
            raise ValueError(f"{what}: damaged ({type(error).__name__}: {error}): download the archive again") from None
    else:
        try:
            stored = _pickled_dict(content)
        except Exception as error:  # whatever a damaged pickle makes its constructors raise
            raise ValueError(
                f"{what}: not an episode ({type(error).__name__}: {error}), expected a pickled dict of arrays"
            ) from None
    arrays = {}
    for name, keys in _NAMES.items():
        found = next((stored[key] for key in keys if key in stored), None)
        if not isinstance(found, np.ndarray):
            raise ValueError(
                f"{what}: key {keys[0]} is {'missing' if found is None else type(found).__name__}, found "
                f"{', '.join(map(str, stored))}, expected arrays under {', '.join(known[0] for known in _NAMES.values())}"
            )
        arrays[name] = found
    return arrays


def _npz_arrays(content: bytes, most_bytes: int) -> dict[str, Any]:
    """The arrays of an npz that are read."""
    npz = NpzFile(content)
    arrays: dict[str, Any] = dict.fromkeys(npz.keys)
    for key in sorted({key for keys in _NAMES.values() for key in keys} & set(npz.keys)):
        with npz.open(key) as array:
            num_bytes = math.prod(array.shape) * array.dtype.itemsize
            if num_bytes > most_bytes:
                raise EOFError(f"{key} has {num_bytes} bytes, expected at most {most_bytes}")
            arrays[key] = array.values()
    return arrays


def _pickled_dict(content: bytes) -> dict[str, Any]:
    """The dict in an npy file of a 0-d object array, as ``np.save`` writes a dict."""
    stream = io.BytesIO(content)
    shape, _, dtype = npy_header(stream)
    if shape != () or not dtype.hasobject:
        raise ValueError(f"it holds {dtype} {list(shape)}")
    start = stream.tell()
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name in _MEMO_OPCODES and isinstance(argument, int) and argument > _MAX_MEMO:
            raise pickle.UnpicklingError(f"it wants room for {argument} objects")
    stream.seek(start)
    array = _ArrayUnpickler(stream).load()
    found = array.item() if isinstance(array, np.ndarray) and array.shape == () else array
    if not isinstance(found, dict):
        raise ValueError(f"it holds a {type(found).__name__}")
    return found
