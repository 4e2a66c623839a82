"""Which arrays of an HDF5 file hold what: as the settings say, or guessed from names, dtypes and shapes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import h5py
import numpy as np

from lamflow.episodes.array_parts import FRAMES, STATE, RecordedPart, RecordedPicture, fitted, is_picture, part_of_array
from lamflow.episodes.fit import FrameFit
from lamflow.episodes.hdf5_file import DONES, TIMEOUTS, listed
from lamflow.episodes.hdf5_settings import Hdf5Settings

ACTIONS: Final = ("actions", "action")
REWARDS: Final = ("rewards", "reward")
_OBSERVATIONS: Final = ("obs", "observations", "observation")
_CAMERAS: Final = ("agentview_rgb", "agentview_image", FRAMES, "images", "image", *_OBSERVATIONS, "pixels", "rgb")
"""The last words of the names of pictures; the first one that is there is taken where there are several."""
Arrays = Mapping[str, h5py.Dataset]


@dataclass(frozen=True)
class Columns:
    """Names of arrays. ``parts``: those of an observation's parts, by the parts' names; None where there is no such column."""

    parts: Mapping[str, str]
    main: str
    actions: str | None
    rewards: str | None
    dones: str | None
    timeouts: str | None
    notes: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """All of them."""
        others = (self.actions, self.rewards, self.dones, self.timeouts)
        return (*self.parts.values(), *(key for key in others if key is not None))


def columns_of(arrays: Arrays, settings: Hdf5Settings, what: str) -> Columns:
    """The columns of an episode, or of a file of episodes, that holds ``arrays``. ValueError names ``what``, and lists what is there, where
    one cannot be found."""
    parts, notes = _parts(arrays, settings, what)
    keys = settings.keys
    found = Columns(
        parts=parts,
        main=_main(parts, settings, what),
        actions=keys.actions or _first(ACTIONS, arrays),
        rewards=keys.rewards or _first(REWARDS, arrays),
        dones=keys.dones or _first(DONES, arrays),
        timeouts=keys.timeouts or _first(TIMEOUTS, arrays),
        notes=notes,
    )
    check_present(arrays, found, what)
    if found.actions is None:
        none = f"no actions were found ({' or '.join(ACTIONS)}); if there are some, name them in keys.actions"
        return Columns(**{**vars(found), "notes": (*notes, none)})
    return found


def check_present(arrays: Arrays, columns: Columns, what: str) -> None:
    """ValueError unless all columns are there, with as many rows each, and at least one."""
    for key in columns.keys:
        if key not in arrays:
            raise ValueError(f"{what}: found no {key!r}; what is there: {listed(arrays)}. Say what to read in `keys`")
        if not arrays[key].shape:
            raise ValueError(
                f"{what}: {key} is a single value, expected an array with a row per step: name another key"
            )
    first = columns.parts[columns.main]
    for key in columns.keys:
        if len(arrays[key]) != len(arrays[first]):
            raise ValueError(
                f"{what}: {key} has {len(arrays[key])} rows and {first} has {len(arrays[first])}, expected as many: mend or remove it"
            )
    if not len(arrays[first]):
        raise ValueError(f"{what}: found no row, expected at least one: remove it")


def recorded_parts(arrays: Arrays, columns: Columns, what: str) -> dict[str, RecordedPart]:
    """What the parts of an observation are; ValueError where ``frames`` are no pictures."""
    parts = {
        name: part_of_array(arrays[key].dtype, arrays[key].shape[1:], f"{what}: {key}")
        for name, key in columns.parts.items()
    }
    if FRAMES in parts and not isinstance(parts[FRAMES], RecordedPicture):
        key = columns.parts[FRAMES]
        raise ValueError(
            f"{what}: {key} is {arrays[key].dtype} {list(arrays[key].shape)}, expected pictures uint8 [rows, H, W, 3]: name another key in "
            "keys.frames, or in keys.parts if these are vectors; pictures that are compressed within the file are not read: unpack them"
        )
    return parts


def check_alike(parts: Mapping[str, RecordedPart], first: Mapping[str, RecordedPart], fit: FrameFit, what: str) -> None:
    """ValueError unless parts become what those of the first episode become."""
    for name, part in parts.items():
        named = f"{what}: part {name!r}"
        if part == first[name] or fitted(part, fit, named) == fitted(first[name], fit, named):
            continue
        cure = ": remove it, or read it as another environment"
        if isinstance(part, RecordedPicture) and isinstance(first[name], RecordedPicture):
            cure = ": set `frames: {height: 64, width: 64}`, and all are brought to that size"
        raise ValueError(f"{named} is {part}, expected {first[name]}, as in the first episode{cure}")


def _parts(arrays: Arrays, settings: Hdf5Settings, what: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """The parts of an observation, and what a person should know of how they were chosen."""
    named = dict(settings.keys.parts)
    if settings.keys.frames is not None:
        return {FRAMES: settings.keys.frames} | named, ()
    pictures = [key for key, array in arrays.items() if _is_observed(key) and _is_picture(array)]
    if settings.main in named or (named and not pictures):
        return named, ()
    if pictures:
        camera = _camera(pictures, arrays, what)
        others = [key for key in pictures if key != camera and key not in named.values()]
        more = f"; there are {', '.join(others)}, too: choose in keys.frames, or name them in keys.parts"
        return {FRAMES: camera} | named, ((f"{camera} is the part frames{more}",) if others else ())
    return _vectors(arrays, what), ()


def _camera(pictures: list[str], arrays: Arrays, what: str) -> str:
    if len(pictures) == 1:
        return pictures[0]
    for name in _CAMERAS:
        if found := [key for key in pictures if key.rpartition("/")[2] == name]:
            return found[0]
    raise ValueError(
        f"{what}: found several pictures, expected one: {listed({key: arrays[key] for key in pictures})}. Say which in keys.frames"
    )


def _vectors(arrays: Arrays, what: str) -> dict[str, str]:
    """Vectors, where there is no picture."""
    observed = {key: array for key, array in arrays.items() if key.partition("/")[0] in _OBSERVATIONS and array.shape}
    found = [
        key
        for key, array in observed.items()
        if array.ndim <= 2 and array.dtype.kind in "fiub" and not _is_bytes(array)
    ]
    if not found:
        for key, array in observed.items() if not any(map(_is_bytes, observed.values())) else ():
            part_of_array(array.dtype, array.shape[1:], f"{what}: {key}")
        raise ValueError(
            f"{what}: found neither pictures (uint8) nor vectors in {', '.join(_OBSERVATIONS)}; what is there: {listed(arrays)}. Say what "
            "to read in keys.frames or keys.parts"
        )
    if len(found) == 1:
        return {STATE: found[0]}
    return {re.sub(r"[^A-Za-z0-9_-]", "_", key.partition("/")[2] or key): key for key in found}


def _main(parts: Mapping[str, str], settings: Hdf5Settings, what: str) -> str:
    if settings.main is not None:
        if settings.main not in parts:
            raise ValueError(f"{what}: main: found {settings.main!r}, expected one of the parts {', '.join(parts)}")
        return settings.main
    if FRAMES in parts:
        return FRAMES
    if len(parts) > 1:
        raise ValueError(f"{what}: main: say which of the parts {', '.join(parts)} latent action models see")
    return next(iter(parts))


def _first(names: tuple[str, ...], arrays: Arrays) -> str | None:
    return next((name for name in names if name in arrays), None)


def _is_observed(key: str) -> bool:
    """Not the next observation, which a row of its own holds."""
    return not any(part.startswith("next_") for part in key.split("/"))


def _is_bytes(array: h5py.Dataset) -> bool:
    """Rows of bytes are compressed pictures, rather than vectors."""
    return array.dtype == np.uint8 and array.ndim == 2


def _is_picture(array: h5py.Dataset) -> bool:
    return array.dtype == np.uint8 and array.ndim >= 3 and is_picture(array.shape[1:])
