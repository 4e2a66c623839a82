"""The rule ``summarise_actions``: answers to recorded actions, as scores of agents and decoders, and their means with intervals."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from lamflow.atomic_files import write_text
from lamflow.code_digests import Code
from lamflow.evaluation.action_scores import aggregate_rows, read_action_errors, score_rows
from lamflow.evaluation.columns import ACTION_AGGREGATE_COLUMNS, ACTION_SCORE_COLUMNS
from lamflow.evaluation.csv_text import rounded_csv_text
from lamflow.provenance import record_provenance


def summarise_actions(
    *, actions: Sequence[Path | str], output_scores: Path | str, output_aggregate: Path | str, bootstrap_samples: int
) -> None:
    """Write ``summary/action_scores.csv`` and ``summary/action_aggregate.csv`` of every job's ``actions.csv``; without a row where no
    action of the held-out recordings is known. ValueError when the files are malformed, mixed or incomplete; nothing is written then."""
    started = time.monotonic()
    paths = [Path(path) for path in actions]
    errors = read_action_errors(paths)
    scores = rounded_csv_text(ACTION_SCORE_COLUMNS, score_rows(errors))
    aggregate = rounded_csv_text(ACTION_AGGREGATE_COLUMNS, aggregate_rows(errors, samples=bootstrap_samples))
    for output, text in ((output_scores, scores), (output_aggregate, aggregate)):
        write_text(Path(output), text)
        record_provenance(
            Path(output),
            code=Code(__name__),
            settings={"bootstrap_samples": bootstrap_samples},
            inputs={str(index): path for index, path in enumerate(paths)},
            seed=None,
            wall_seconds=time.monotonic() - started,
        )
