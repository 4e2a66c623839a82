"""Stop 2 of an environment that nobody demonstrates: its recorded episodes as episode stores."""

from __future__ import annotations

import csv
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lamflow.atomic_files import atomic_path
from lamflow.code_digests import Code
from lamflow.data.checked_episodes import checked_episodes
from lamflow.data.frame_tolerance import ToleranceMeter
from lamflow.data.import_progress import ImportProgress
from lamflow.data.kept_parts import KeptEpisode, KeptParts
from lamflow.data.store import UNKNOWN_LEVEL, EpisodeWriter
from lamflow.envs.interface import SPLITS, Split
from lamflow.envs.recorded_settings import SplitSettings
from lamflow.envs.recorded_splits import shared_out
from lamflow.envs.spec import EnvironmentSpec
from lamflow.episodes.fit import FrameFit
from lamflow.episodes.interface import Described, RecordedEpisode, Source
from lamflow.episodes.settings import source_settings
from lamflow.evaluation.normalisers import warn_of_references
from lamflow.evaluation.references import mean_and_error
from lamflow.provenance import record_provenance, settings_digest
from lamflow.spaces import Pixels

DONE = ".done"
COLUMNS = ("split", "place", "name", "group", "rows", "labelled_rows")


def import_episodes(
    *,
    environment: Mapping[str, Any],
    settings: Mapping[str, Any],
    files: str,
    state_dir: Path | str,
    outputs: Mapping[str, Path | str],
    table: Path | str,
) -> None:
    """Write the recorded episodes of an environment to the episode stores ``outputs`` (a path for each of train, validation and test), and
    which episode is where to ``table`` (CSV: split, place, name, group, rows, labelled_rows).

    ``settings``: those of the source (``lamflow.episodes.settings.AnySource``); ``files``: the digest of its files. Each episode is read
    once, a few megabytes at a time, and kept in ``state_dir``: an import of the same settings, files and code that was interrupted goes on
    behind the last part that it has kept there, and the stores are the same byte by byte. The level of an episode is its place among those
    of the source; where a simulator has levels of its own, they are unknown (-1). Of such an environment the attributes
    ``return_random`` and ``return_expert`` are those of its facts, or the latter the mean return of all recordings. ValueError, which names
    the file, episode and row, where the recordings cannot be used.
    """
    started = time.monotonic()
    spec = EnvironmentSpec.from_facts(environment)
    typed = source_settings(settings)
    code = Code(__name__, components=frozenset({typed.implementation, type(typed).__module__}))
    source: Source = typed.build(fit=FrameFit(**spec.own["frames"]))
    described = source.describe()
    splits = shared_out(described.episodes, SplitSettings.model_validate(spec.own["splits"]))
    identity = settings_digest([spec.facts(), typed.model_dump(mode="json"), files, code.digest])
    kept = _own_folder(Path(state_dir), identity)
    held = replace(spec, final_observations=described.final_observations)
    parts = KeptParts(kept, held)
    where = ", ".join(typed.files)
    _read(source, described, parts, held, where)
    labelled = _write(parts, splits, described, spec, where, outputs)
    _write_table(Path(table), described, splits, parts.episodes, labelled)
    for split in SPLITS:
        record_provenance(
            Path(outputs[split]),
            code=code,
            settings={**typed.model_dump(mode="json"), "files": files},
            inputs={},
            seed=None,
            wall_seconds=time.monotonic() - started,
        )
    kept.rename(kept.with_suffix(DONE))  # at once, as an import that finds a part of it would go on from there
    shutil.rmtree(state_dir)


def _own_folder(state_dir: Path, identity: str) -> Path:
    """The folder of this import; what other settings, files or code have left is removed."""
    for other in state_dir.iterdir() if state_dir.is_dir() else ():
        if other.name != identity:
            shutil.rmtree(other)
    return state_dir / identity


def _read(source: Source, described: Described, parts: KeptParts, spec: EnvironmentSpec, where: str) -> None:
    """Keep the episodes that are not kept yet."""
    done = len(parts.episodes)
    names = [entry.name for entry in described.episodes[done:]]
    if done:
        print(
            f"{spec.name}: goes on behind the {done} of {len(described.episodes)} episodes that an earlier attempt has read"
        )
    progress = ImportProgress(
        f"{spec.name}: reading", described.episodes, [episode.num_rows for episode in parts.episodes]
    )
    if names:
        episodes = checked_episodes(_in_order(source.episodes(names), names), spec, where)
        parts.keep(progress.over(episodes), progress.add)
    progress.end()
    if len(parts.episodes) != len(described.episodes):
        raise ValueError(
            f"{where}: found {len(parts.episodes)} episodes when they were read, and {len(described.episodes)} when they were listed, "
            "expected the same: the files have changed meanwhile; run it again"
        )


def _in_order(episodes: Iterator[RecordedEpisode], names: Sequence[str]) -> Iterator[RecordedEpisode]:
    for episode, name in zip(episodes, names, strict=False):
        assert episode.entry.name == name, f"found the episode {episode.entry.name!r}, expected {name!r}"
        yield episode


def _write(
    parts: KeptParts,
    splits: Sequence[Split],
    described: Described,
    spec: EnvironmentSpec,
    where: str,
    outputs: Mapping[str, Path | str],
) -> list[int]:
    """The stores of all splits; of each episode how many of its rows have a known action."""
    attributes = {
        "source": where,
        "licence": spec.own["licence"],
        "final_observations": described.final_observations,
        "recording": {**described.facts, "frames_per_second": described.frames_per_second, **spec.own["frames"]},
    }
    meter = ToleranceMeter()
    measured = described.lossy and isinstance(spec.main_part, Pixels)
    progress = ImportProgress(f"{spec.name}: writing", described.episodes, [])
    labelled: list[int] = []
    totals: list[float | None] = []
    with ExitStack() as stack:
        writers = {
            split: stack.enter_context(EpisodeWriter(outputs[split], spec=spec, split=split, attributes=attributes))
            for split in SPLITS
        }
        for episode in progress.over(parts.episodes):
            split = splits[episode.place]
            watched = meter if measured and split == "train" else None
            count, total = _copy(parts, episode, writers[split], spec, watched)
            labelled.append(count)
            totals.append(total)
            progress.add(episode.num_rows)
        references = _references(spec, totals, where)
        for writer in writers.values():
            writer.attributes |= references
        if described.lossy:
            for writer in writers.values():
                writer.attributes |= {"lossy": True, "frame_tolerance": meter.tolerance}
    progress.end()
    return labelled


def _copy(
    parts: KeptParts, episode: KeptEpisode, writer: EpisodeWriter, spec: EnvironmentSpec, meter: ToleranceMeter | None
) -> tuple[int, float | None]:
    """An episode as the next one of a store; how many of its rows have a known action, and its return, None where all rewards are 0."""
    acted = np.arange(episode.num_rows) < episode.num_rows - bool(writer.attributes["final_observations"])
    num_labelled, row, total = 0, 0, None
    writer.begin(episode.place if spec.family == "recorded" else UNKNOWN_LEVEL)
    if meter:
        meter.begin()
    for piece in parts.pieces(episode):
        writer.extend(piece.observations, actions=piece.actions, rewards=piece.rewards, labelled=piece.labelled)
        frames = piece.observations[spec.main]
        if piece.labelled is not None:
            num_labelled += int((piece.labelled & acted[row : row + len(frames)]).sum())
        if piece.rewards is not None and (rewards := piece.rewards[acted[row : row + len(frames)]]).any():
            total = (total or 0.0) + float(rewards.sum())
        row += len(frames)
        if meter:
            meter.add(frames)
    writer.end(terminated=episode.terminated, truncated=not episode.terminated)
    return num_labelled, total


def _references(spec: EnvironmentSpec, totals: Sequence[float | None], where: str) -> dict[str, float | None]:
    """The attributes by which the returns of a simulated environment are normalised; none where nobody plays."""
    returns = spec.own.get("returns")
    if returns is None:
        return {}
    found: dict[str, float | None] = {"return_random": returns["random"], "return_expert": returns["demonstrator"]}
    if returns["demonstrator"] is None:
        if all(total is None for total in totals):
            raise ValueError(
                f"{where}: found no reward but 0, expected rewards, whose mean return normalises that of agents: set "
                f"environments.{spec.name}.returns.demonstrator"
            )
        found["return_expert"], found["return_expert_error"] = mean_and_error([total or 0.0 for total in totals])
    warn_of_references(spec.name, found, f"Correct environments.{spec.name}.returns.")
    return found


def _write_table(
    path: Path, described: Described, splits: Sequence[Split], kept: Sequence[KeptEpisode], labelled: Sequence[int]
) -> None:
    """In the order in which they stand in the stores."""
    found = zip(splits, described.episodes, kept, labelled, strict=True)
    rows = [(split, each.place, entry.name, entry.group, each.num_rows, count) for split, entry, each, count in found]
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(COLUMNS)
        for split in SPLITS:
            writer.writerows(row for row in rows if row[0] == split)
