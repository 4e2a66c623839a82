"""Stop 2: the splits of a Procgen archive of "The Generalization Gap in Offline RL" as episode stores."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from lamflow.code_digests import Code
from lamflow.data.dgrl_archive import read_episodes
from lamflow.data.downloads import FULL_DISK, check_archive
from lamflow.data.sources import DgrlSource
from lamflow.data.store import SPLITS, EpisodeWriter
from lamflow.envs.spec import EnvironmentSpec
from lamflow.evaluation.normalisers import warn_of_references
from lamflow.evaluation.references import mean_and_error
from lamflow.provenance import record_provenance

ADVICE = "Correct return_random and return_expert in config/datasets.yaml."


def import_dgrl(
    *,
    environment: Mapping[str, Any],
    settings: Mapping[str, Any],
    archive: Path | str,
    outputs: Mapping[str, Path | str],
) -> None:
    """Convert the tar.xz ``archive`` to the episode stores ``outputs`` (a path for each of train, validation and test) in one
    pass, one episode in memory at a time.

    ``settings``: ``lamflow.data.sources.DgrlSource``, whose ranges of level seeds are the splits; episodes of other levels are left
    out, level seeds are kept. Without a ``return_expert`` it is the mean return of the test split. ValueError when the archive is
    not as recorded, damaged, hostile or of another form; the stores appear only when they are whole.
    """
    started = time.monotonic()
    source, archive = DgrlSource.model_validate(settings), Path(archive)
    spec = EnvironmentSpec.from_facts(environment)
    check_archive(archive, source)
    try:
        _convert(archive, source, spec, outputs)
    except OSError as error:
        if error.errno not in FULL_DISK:
            raise
        # ASSUME: xz packs the same frames about twice as well as zstd.
        needed = 2 * archive.stat().st_size / 1e9
        raise OSError(
            error.errno, f"{error.strerror} (all stores need about {needed:.3f} GB)", error.filename
        ) from error
    for split in SPLITS:
        record_provenance(
            Path(outputs[split]),
            code=Code(__name__),
            settings=settings,
            inputs={"archive": archive},
            seed=None,
            wall_seconds=time.monotonic() - started,
        )


def _convert(archive: Path, source: DgrlSource, spec: EnvironmentSpec, outputs: Mapping[str, Path | str]) -> None:
    attributes = {
        "source": f"The Generalization Gap in Offline RL, {archive.name}, version {source.version}",
        "licence": source.licence,
        "return_random": source.return_random,
    }
    with ExitStack() as stack:
        writers = {
            split: stack.enter_context(EpisodeWriter(outputs[split], spec=spec, split=split, attributes=attributes))
            for split in SPLITS
        }
        test_returns, left_out = [], 0
        for named, stored in read_episodes(archive, spec):
            split = source.split_of(named.level)
            if split is not None:
                writers[split].append(stored.decode())
            left_out += split is None
            if split == "test":
                test_returns.append(named.total)
        empty = [split for split, writer in writers.items() if writer.num_episodes == 0]
        if empty:
            raise ValueError(
                f"{archive}: found no episode on the levels of {', '.join(empty)}, expected some of each split (train_levels, "
                "validation_levels, test_levels in config/datasets.yaml)"
            )
        if left_out:
            print(f"{archive}: {left_out} episode(s) on levels of no split left out (config/datasets.yaml)")
        references: dict[str, float | None] = {"return_expert": source.return_expert}
        if source.return_expert is None:
            mean, error = mean_and_error(test_returns)
            references = {"return_expert": mean, "return_expert_error": error}
        for writer in writers.values():
            writer.attributes |= references
        warn_of_references(spec.name, writers["test"].attributes, ADVICE)
