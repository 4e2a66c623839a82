"""Finished zarr v3 groups of row arrays: opened lazily, with every damage found and named."""

from __future__ import annotations

import glob
import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lamflow.data.chunk_reader import REPAIR, RowReader
from lamflow.data.group_writer import ArraySpec, attributes_digest, own_zarr_options, sha256_of, shard_name

Layout = Callable[[Mapping[str, Any]], list[tuple[ArraySpec, int]]]
FAST_PIPELINE: Final = "zarrs.ZarrsCodecPipeline"
"""A decoder in Rust, about 20 times as fast as zarr's own; used where the package zarrs is installed."""
_GROUP: Final = {"zarr_format": 3, "node_type": "group"}
"""What stands beside the attributes of a group."""
VERIFIED_BYTES: Final = 1 << 26
"""An array of no more is read whole before parts of it are: its chunks have checksums, but which file is which has none."""


def load_metadata(path: Path) -> dict[str, Any]:
    """Attributes of the group at ``path``, unchecked; ValueError where there is no group or it cannot be parsed."""
    if not path.exists():
        partial = sorted(path.parent.glob(f".{glob.escape(path.name)}.*.partial"))
        beside = f" (half-written: {partial[0]}, it is not used)" if partial else ""
        raise ValueError(f"{path}: found nothing{beside}, expected a store: check the path, or run its rule")
    file = path / "zarr.json"
    if not file.is_file():
        cure = f"check the path, or {REPAIR}" if path.suffix == ".zarr" else "check the path, stores end in .zarr"
        raise ValueError(f"{path}: found no zarr.json, expected a store: {cure}")
    try:
        metadata = json.loads(file.read_bytes())
        attributes = metadata.pop("attributes")
        if not isinstance(attributes, dict):
            raise TypeError(f"attributes are {attributes!r}")
        if metadata != _GROUP:
            raise ValueError(f"found {metadata}, expected {_GROUP}")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{file}: damaged ({type(error).__name__}: {error}), expected the metadata of a zarr v3 group: {REPAIR}"
        ) from None
    return attributes


def check_format(path: Path, attributes: dict[str, Any], *, format_name: str, format_version: int) -> None:
    """ValueError unless the group is whole, and of that format and version."""
    if not attributes:
        raise ValueError(f"{path}: half-written, its writer never finished: {REPAIR}")
    if attributes.get("format") != format_name:
        found = attributes.get("format")
        raise ValueError(f"{path}: found format {found!r}, expected {format_name!r}: give a store of that kind")
    if attributes.get("format_version") != format_version:
        raise ValueError(
            f"{path}: found format_version {attributes.get('format_version')!r}, expected {format_version}: "
            f"{REPAIR}, or use the version of lamflow that wrote it"
        )
    if attributes.get("complete") is not True:
        raise ValueError(f"{path}: half-written, its writer never finished: {REPAIR}")


def check_digest(path: Path, attributes: dict[str, Any]) -> None:
    """ValueError when the attributes changed since the group was sealed."""
    if attributes.get("digest") != attributes_digest(attributes):
        raise ValueError(
            f"{path / 'zarr.json'}: its attributes do not match their digest, it was damaged or edited: {REPAIR}"
        )


def file_problems(path: Path, attributes: dict[str, Any], *, within: str = "", contents: bool = False) -> list[str]:
    """What is wrong with the files of a group whose names start with ``within``: missing, of another size, changed
    metadata and, when ``contents``, changed bytes (reads everything)."""
    problems = []
    for name, (size, digest) in attributes["files"].items():
        file = path / name
        if not name.startswith(within):
            continue
        if not file.is_file():
            problems.append(f"{name}: missing, expected {size} bytes")
        elif file.stat().st_size != size:
            problems.append(f"{name}: found {file.stat().st_size} bytes, expected {size}")
        elif (contents or name.endswith("zarr.json")) and sha256_of(file) != digest:
            problems.append(f"{name}: its contents changed since it was written (its sha256 differs)")
    return problems


def open_array(path: Path, spec: ArraySpec, num_rows: int) -> Any:
    """The zarr array of ``spec``, read lazily; ValueError when it is missing or of another dtype or shape."""
    expected = f"{spec.dtype} {[num_rows, *spec.row_shape]}"
    if not (path / spec.name / "zarr.json").is_file():
        raise ValueError(f"{path}: array {spec.name!r} is missing, expected {expected}: {REPAIR}")
    import zarr

    fast = {"codec_pipeline.path": FAST_PIPELINE} if importlib.util.find_spec("zarrs") else {}
    with own_zarr_options(), zarr.config.set(fast):
        array = zarr.open_array(path / spec.name, mode="r", zarr_format=3)
    if array.dtype != np.dtype(spec.dtype) or array.shape != (num_rows, *spec.row_shape):
        found = f"{array.dtype} {list(array.shape)}"
        raise ValueError(f"{path}: array {spec.name!r} is {found}, expected {expected}: {REPAIR}")
    return array


def promised_files(spec: ArraySpec, array: Any) -> list[str]:
    """Names of the shard files that hold the rows of ``array``; ValueError when it is not stored as the writer stores arrays."""
    row_shape, shards = spec.row_shape, array.shards
    if shards is None or shards[1:] != row_shape or array.chunks[1:] != row_shape or shards[0] % array.chunks[0]:
        raise ValueError(
            f"array {spec.name!r} has chunks {array.chunks} in shards {shards}, expected shards of whole rows"
        )
    return [shard_name(spec, shard) for shard in range(-(-array.shape[0] // shards[0]))]


def unlisted_shards(attributes: Mapping[str, Any], spec: ArraySpec, array: Any) -> list[str]:
    """The shards of ``array`` that its writer did not list, as problems: zarr would read zeros in their place."""
    missing = [name for name in promised_files(spec, array) if name not in attributes["files"]]
    return [
        f"{name}: not among the files that were written, expected a part of {array.shape[0]} rows" for name in missing
    ]


def row_reader(path: Path, spec: ArraySpec, array: Any) -> RowReader:
    """A reader of the zarr array ``array`` of the group at ``path``."""
    return RowReader(
        folder=path / spec.name,
        spec=spec,
        num_rows=array.shape[0],
        chunk_rows=array.chunks[0],
        shard_rows=array.shards[0],
    )


class GroupReader:
    """The arrays of a finished group, read lazily. ``layout`` says from the attributes which arrays of how many rows.

    ValueError for missing or truncated files and wrong dtypes or shapes when it is made, and for changed bytes and chunks that
    were never written when an array is first asked for.
    """

    def __init__(self, path: Path, attributes: dict[str, Any], layout: Layout) -> None:
        self._path = path
        self._attributes = attributes
        try:
            expected = layout(attributes)
            problems = file_problems(path, attributes)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{path}: its attributes cannot be used ({error}): {REPAIR}") from None
        self._refuse(problems)
        self._specs = {spec.name: spec for spec, _ in expected}
        self._arrays = {spec.name: open_array(path, spec, num_rows) for spec, num_rows in expected}
        for name, spec in self._specs.items():
            self._refuse(unlisted_shards(attributes, spec, self._arrays[name]))
        self._verified: set[str] = set()
        self._readers: dict[str, RowReader] = {}

    def __getitem__(self, name: str) -> Any:
        """The zarr array ``name``; its files are verified the first time."""
        # Not left to the codec's crc32c: zarrs does not check it where it decodes a part of a chunk.
        self._verify(name)
        self.rows(name)
        return self._arrays[name]

    def rows(self, name: str) -> RowReader:
        """A reader of parts of the array ``name``, which are verified as they are read; a small one is verified at once."""
        if name not in self._readers:
            sizes = [size for file, (size, _) in self._attributes["files"].items() if file.startswith(f"{name}/")]
            if sum(sizes) <= VERIFIED_BYTES:
                self._verify(name)
            reader = row_reader(self._path, self._specs[name], self._arrays[name])
            self._refuse(reader.never_written())
            self._readers[name] = reader
        return self._readers[name]

    def _verify(self, name: str) -> None:
        """ValueError when the bytes of an array have changed; they are read once."""
        if name not in self._verified:
            self._refuse(file_problems(self._path, self._attributes, within=f"{name}/", contents=True))
            self._verified.add(name)

    def load(self, *, without: Sequence[str] = ()) -> dict[str, NDArray[Any]]:
        """All arrays by name, in memory; those named in ``without`` are left out."""
        with own_zarr_options():
            return {name: np.asarray(self[name][...]) for name in self._arrays if name not in without}

    def _refuse(self, problems: list[str]) -> None:
        if problems:
            more = f" and {len(problems) - 1} more problem(s)" if len(problems) > 1 else ""
            listing = f"`python -m lamflow.data.validate {self._path}` lists all"
            raise ValueError(f"{self._path}: damaged: {problems[0]}{more}: {REPAIR} ({listing})")
