"""HDF5 files as they are found: opened or refused for people, and what lies in them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from lamflow.episodes.files import files_below
from lamflow.episodes.hdf5_settings import ENDINGS

DEMOS: Final = "data"
"""The group that holds a group per episode in robomimic's layout."""
DONES: Final = ("terminals", "dones", "done", "terminations", "terminated")
TIMEOUTS: Final = ("timeouts", "truncations", "truncated")
"""What flags that end episodes are called."""
MINARI_FILE: Final = "main_data.hdf5"
_MOST_LISTED: Final = 30


@contextmanager
def named_damage(what: str) -> Iterator[None]:
    """Turns what h5py raises for damaged content into a ValueError that begins with ``what``. For calls into h5py alone."""
    try:
        yield
    except (OSError, RuntimeError, KeyError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk's own
            raise
        raise ValueError(
            f"{what}: damaged or cut off ({type(error).__name__}: {error}), expected a whole HDF5 file: copy or download it again"
        ) from None


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The file, open for reading. ValueError where it is none, empty, or damaged."""
    if not path.is_file():
        raise ValueError(f"{path}: found no file, expected an HDF5 file")
    if not h5py.is_hdf5(path):
        size = path.stat().st_size
        found = "an empty file" if size == 0 else f"a file of {size} bytes that is no HDF5"
        raise ValueError(f"{path}: found {found}, expected an HDF5 file: copy or download it again")
    with named_damage(str(path)):
        file = h5py.File(path, "r")
    with file:
        yield file


def files_at(path: Path) -> list[Path]:
    """The file at ``path``, or the HDF5 files of a folder and of those in it, in natural order. ValueError where there is none, or where
    they are a Minari data set's."""
    if not path.exists():
        raise ValueError(f"{path}: found nothing, expected an HDF5 file, or a folder with some")
    files = [path] if path.is_file() else [file for file in files_below(path) if file.suffix in ENDINGS]
    if not files:
        raise ValueError(f"{path}: found no file that ends in {', '.join(ENDINGS)}, expected at least one")
    for file in files:
        if file.name == MINARI_FILE and file.with_name("metadata.json").exists():
            raise ValueError(
                f"{file}: found a data set of Minari, expected files of another layout: use "
                f"{{kind: minari, path: {file.parent.parent}}}"
            )
    return sorted(files, key=lambda file: natural_order(str(file)))


def natural_order(name: str) -> list[tuple[int, str]]:
    """A key to sort by: numbers within names count as numbers, so that demo_2 comes before demo_10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", name)]


def layout_at(path: Path) -> Literal["robomimic", "d4rl", "file"] | None:
    """The layout of a file; file: one without flags that end episodes; None where it is none of those that are read."""
    try:
        with opened(path) as file:
            layout = layout_of(file)
            return "file" if layout == "d4rl" and not any(flag in file for flag in (*DONES, *TIMEOUTS)) else layout
    except ValueError:
        return None


def layout_of(file: h5py.File) -> Literal["robomimic", "d4rl"] | None:
    """robomimic: a group ``data`` with groups; d4rl: arrays outside of it; None: neither."""
    demos = file.get(DEMOS)
    if isinstance(demos, h5py.Group) and any(isinstance(demos.get(name), h5py.Group) for name in demos):
        return "robomimic"
    return "d4rl" if any(array.shape for array in arrays_in(file).values()) else None


def arrays_in(group: h5py.Group) -> Mapping[str, h5py.Dataset]:
    """The arrays of a group and of the groups in it, by name, in natural order."""
    found: dict[str, h5py.Dataset] = {}

    def note(name: str, thing: Any) -> None:
        if isinstance(thing, h5py.Dataset):
            found[name] = thing

    with named_damage(str(group.file.filename)):
        group.visititems(note)
    return dict(sorted(found.items(), key=lambda entry: natural_order(entry[0])))


def listed(arrays: Mapping[str, h5py.Dataset]) -> str:
    """What is there, for people: names, dtypes and shapes."""
    shown = [f"{name} {array.dtype} {list(array.shape or ())}" for name, array in arrays.items()]
    more = len(shown) - _MOST_LISTED
    return "; ".join(shown[:_MOST_LISTED]) + (f"; and {more} more" if more > 0 else "") if shown else "nothing"


def flags_of(array: h5py.Dataset, what: str) -> NDArray[np.bool_]:
    """A column of flags, bool [rows]; ValueError names ``what`` and the row that is neither 0 nor 1."""
    with named_damage(what):
        values = np.asarray(array[()]).reshape(len(array), -1)
    if values.shape[1] != 1:
        raise ValueError(f"{what}: found {array.dtype} {list(array.shape)}, expected one flag per row")
    unclear = np.flatnonzero(~np.isin(values[:, 0], (0, 1)))
    if len(unclear):
        raise ValueError(f"{what}: row {unclear[0]}: found {values[unclear[0], 0]}, expected 0 or 1")
    return values[:, 0].astype(np.bool_)
