"""Recordings labelled with latent actions: episode by episode, in bounded memory, and from where it was stopped.

Each finished episode is a file in a folder beside the output; at the end they are joined.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
from numpy.typing import NDArray
from tqdm import tqdm

from lamflow.atomic_files import atomic_path, write_text
from lamflow.episodes.files import files_below
from lamflow.episodes.fit import Fit, FrameFit
from lamflow.episodes.interface import Described, EpisodeEntry, RecordedEpisode, Source
from lamflow.episodes.settings import SourceSettings
from lamflow.loaded.decoders import LoadedDecoder
from lamflow.loaded.label_table import LabelTable
from lamflow.loaded.lams import LoadedLam
from lamflow.provenance import file_digest, settings_digest
from lamflow.spaces import Pixels

IDENTITY = "labelled.json"
GROUP_ROWS = 32_768
"""Rows of a group in the file, which is what its readers hold in memory."""


def fit_of(lam: LoadedLam, fit: Fit | None = None) -> FrameFit:
    """How pictures become frames of the model: as those that it learnt from did, unless ``fit`` says how."""
    part = lam.spec.main_part
    if not isinstance(part, Pixels):
        return FrameFit()
    learnt: Fit = lam.spec.own.get("frames", {}).get("fit", "resize")
    return FrameFit(part.shape[0], part.shape[1], fit or learnt)


def label_recordings(
    lam: LoadedLam,
    settings: SourceSettings,
    output: Path,
    *,
    fit: Fit | None = None,
    decoder: LoadedDecoder | None = None,
) -> int:
    """Write the latent actions of all frames of a source to a parquet file, see ``LabelTable``; how many rows it has. ``fit``: as
    ``fit_of`` takes it.

    A run that was stopped goes on with the same call: finished episodes lie in ``<output>.parts`` until all are done. ValueError where the
    source's frames are none of the model's, or the file cannot be written.
    """
    check_output(output, settings)
    frames = fit_of(lam, fit)
    source: Source = settings.build(fit=frames)
    described = source.describe()
    _check_frames(lam, described, settings)
    table, parts = LabelTable(lam, decoder), output.with_name(f"{output.name}.parts")
    _begin(parts, settings_digest([asdict(frames), *_identity(lam, described, settings, decoder)]))
    places = {entry.name: place for place, entry in enumerate(described.episodes)}
    missing = [name for name, place in places.items() if not _part(parts, place).is_file()]
    known = sum(entry.rows or 0 for entry in described.episodes if entry.name in set(missing))
    with tqdm(total=known or None, unit="frame", unit_scale=True, desc="labelling") as progress:
        for episode in source.episodes(missing) if missing else ():
            path = _part(parts, places[episode.entry.name])
            _label_episode(table, episode, described.main, path, progress.update)
    rows = _joined(table, [_part(parts, place) for place in range(len(places))], output)
    shutil.rmtree(parts)
    return rows


def check_output(output: Path, settings: SourceSettings) -> None:
    """ValueError where no table can be written, or where it would be a change of the recordings."""
    if output.suffix != ".parquet" or output.is_dir():
        found = "a folder" if output.is_dir() else f"a name that ends in {output.suffix!r}"
        raise ValueError(f"{output}: found {found}, expected a file to write, such as labels.parquet")
    blocking = next((path for path in output.parents if path.exists() and not path.is_dir()), None)
    if blocking is not None:
        raise ValueError(f"{output}: found a file at {blocking}, expected a folder: name another file to write")
    for path in map(Path, settings.files):
        if path.is_dir() and output.resolve().is_relative_to(path.resolve()):
            raise ValueError(
                f"{output}: found a file to write within the recordings {path}, expected one elsewhere: there it would count as a change "
                "of them, and what was made of them would be made again"
            )


def _check_frames(lam: LoadedLam, described: Described, settings: SourceSettings) -> None:
    found, wanted = described.observation[described.main], lam.spec.main_part
    if found != wanted:
        raise ValueError(
            f"{', '.join(settings.files)}: found {found.kind} {list(found.shape)} as the part {described.main!r} that latent action models "
            f"see, and the model {lam.path} was trained on {wanted.kind} {list(wanted.shape)}: give recordings of the same kind"
        )
    if not described.episodes:
        raise ValueError(f"{', '.join(settings.files)}: found no episode, expected at least one")


def _identity(
    lam: LoadedLam, described: Described, settings: SourceSettings, decoder: LoadedDecoder | None
) -> list[Any]:
    """What the rows depend on; files of the recordings by their names, sizes and times of change."""
    files = [path for name in settings.files for path in _files_at(Path(name))]
    return [
        file_digest(lam.path),
        [asdict(entry) for entry in described.episodes],
        settings.model_dump(mode="json"),
        [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in files],
        [file_digest(decoder.path), asdict(decoder.member)] if decoder else None,
    ]


def _files_at(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(found for found in files_below(path) if found.is_file())
    elif path.is_file():
        yield path


def _begin(parts: Path, identity: str) -> None:
    """Keep what an earlier call of the same identity has finished, and nothing of another."""
    with suppress(OSError, ValueError):
        if json.loads(parts.joinpath(IDENTITY).read_text(encoding="utf-8"))["identity"] == identity:
            return
    shutil.rmtree(parts, ignore_errors=True)
    parts.mkdir(parents=True)
    write_text(parts / IDENTITY, json.dumps({"identity": identity}) + "\n")


def _part(parts: Path, place: int) -> Path:
    return parts / f"{place:07d}.parquet"


def _label_episode(
    table: LabelTable, episode: RecordedEpisode, main: str, path: Path, tell: Callable[[int], Any]
) -> None:
    """All rows of an episode, in a file of its own."""
    entry, frames = episode.entry, 0

    def seen() -> Iterator[NDArray[Any]]:
        nonlocal frames
        for piece in episode.pieces:
            part = piece.observations[main]
            frames += len(part)
            yield part

    with atomic_path(path) as temporary, parquet.ParquetWriter(temporary, table.schema) as writer:
        row = 0
        for labels in _labels_of(table.lam, entry, seen()):
            writer.write_table(table.rows(entry.name, row, labels))
            row += len(labels.latents)
            tell(len(labels.latents))
        if frames:
            assert row == frames - 1, f"{entry.name}: {row} labels of {frames} frames"
            writer.write_table(table.last_row(entry.name, row))
            tell(1)


def _labels_of(lam: LoadedLam, entry: EpisodeEntry, pieces: Iterator[NDArray[Any]]) -> Iterator[Any]:
    try:
        yield from lam.label_pieces(pieces)
    except ValueError as error:
        raise ValueError(f"episode {entry.name!r}: {error}") from None


def _joined(table: LabelTable, parts: list[Path], output: Path) -> int:
    """The rows of all parts in one file, in groups of some ten thousand; how many they are."""
    rows, written, waiting = 0, 0, [table.schema.empty_table()]
    with atomic_path(output) as temporary, parquet.ParquetWriter(temporary, table.schema) as writer:
        for found in _groups(parts):
            rows += found.num_rows
            waiting.append(found)
            if rows - written >= GROUP_ROWS:
                writer.write_table(pa.concat_tables(waiting))
                written, waiting = rows, waiting[:1]
        writer.write_table(pa.concat_tables(waiting))
    return rows


def _groups(parts: list[Path]) -> Iterator[Any]:
    for path in parts:
        with parquet.ParquetFile(path) as opened:
            for group in range(opened.num_row_groups):
                yield opened.read_row_group(group)
