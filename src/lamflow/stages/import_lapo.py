"""Stop 2: one split of LAPO's published data as an episode store."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lamflow.code_digests import Code
from lamflow.data.downloads import FULL_DISK
from lamflow.data.lapo_archive import LapoArchive, opened_archive
from lamflow.data.lapo_chunks import (
    LapoChunk,
    Marks,
    chunk_episodes,
    chunk_names,
    chunks_of_split,
    detect_marks,
)
from lamflow.data.sources import LapoSource
from lamflow.data.store import EpisodeWriter
from lamflow.envs.spec import EnvironmentSpec
from lamflow.provenance import record_provenance


def import_lapo(
    *, environment: Mapping[str, Any], split: str, settings: Mapping[str, Any], archive: Path | str, output: Path | str
) -> None:
    """Convert the chunks of ``split`` in ``archive`` to the episode store ``output``, one chunk in memory at a time.

    ``archive``: LAPO's zip of the game, or a folder into which it was unpacked.
    ``settings``: ``lamflow.data.sources.LapoSource``. Episodes end where ``done`` says; chunk borders are cut, and what they cut
    off is kept as an episode of its own. Level seeds are unknown: -1. ValueError when the archive is not as recorded, damaged,
    or not of LAPO's form; OSError, which names the path and the room that is needed, when the disk is full. ``output`` appears
    only when it is whole.
    """
    started = time.monotonic()
    source, archive = LapoSource.model_validate(settings), Path(archive)
    spec = EnvironmentSpec.from_facts(environment)
    game = spec.simulator_id.split("/")[0]
    with opened_archive(archive, source, game) as opened:
        names = chunks_of_split(
            chunk_names(opened, game),
            split,
            train_chunks=source.train_chunks,
            validation_chunks=source.validation_chunks,
            archive=opened.path,
        )
        with _needed_room(opened, names, output):
            _convert(opened, names, split, source, spec, output)
    record_provenance(
        Path(output),
        code=Code(__name__),
        settings=settings,
        inputs={"archive": opened.path},
        seed=None,
        wall_seconds=time.monotonic() - started,
    )


def _convert(
    archive: LapoArchive,
    names: list[str],
    split: str,
    source: LapoSource,
    spec: EnvironmentSpec,
    output: Path | str,
) -> None:
    num_rows = source.test_chunk_rows if split == "test" else source.train_chunk_rows
    attributes = {
        "source": f"LAPO's published data, {archive.path.name}, version {source.version}",
        "licence": source.licence,
        "return_expert": source.return_expert,
        "return_random": source.return_random,
        "num_chunks": len(names),
    }
    marks: Marks | None = None if source.episode_marks == "auto" else source.episode_marks
    buffer = np.empty((min(num_rows, spec.max_steps + 1), *spec.frame_shape), np.uint8)
    num_partial = 0
    with EpisodeWriter(output, spec=spec, split=split, attributes=attributes) as writer:
        for name in names:
            with LapoChunk(archive, name, num_rows=num_rows, spec=spec) as chunk:
                marks = marks or detect_marks(chunk)
                for episode, part in chunk_episodes(chunk, marks or "last", buffer):
                    # The chunk before may be of the train split, and this the rest of its last episode.
                    if split == "validation" and name == names[0] and not part.begins and part.stop < num_rows:
                        continue
                    whole = part.begins and part.ends
                    writer.append(episode, whole=whole)
                    num_partial += not whole
        writer.attributes |= {"num_partial_episodes": num_partial, "episode_marks": marks}


@contextmanager
def _needed_room(archive: LapoArchive, names: list[str], output: Path | str) -> Iterator[None]:
    """Adds to a full disk's message how much room the store needs."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL_DISK:
            raise
        # ASSUME: frames take as much room as in the archive; zstd and deflate differ by less than a tenth.
        needed = sum(archive.stored_bytes(name) for name in names)
        raise OSError(
            error.errno, f"{error.strerror} (the whole store needs about {needed / 1e9:.3f} GB)", str(output)
        ) from error
