"""The rule ``summarise_lams``: a verdict on every latent action model and its last validation metrics, one row per model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lamflow.atomic_files import write_text
from lamflow.code_digests import Code
from lamflow.evaluation.lam_tables import RUN_COLUMNS, told, with_verdicts
from lamflow.evaluation.metrics import named_inputs, read_runs
from lamflow.provenance import record_provenance


def summarise_lams(*, metrics: Sequence[Path | str], runs: Sequence[dict[str, Any]], output: Path | str) -> None:
    """Write env, lam, seed, step, verdict, reason and one column per validation metric, at the last step that has it; empty where
    there is none.

    ``metrics``: the ``metrics.csv`` of each run; ``runs``: env, lam and seed of each, in the same order. ValueError when a file
    is malformed or has no validation metrics.
    """
    started = time.monotonic()
    paths = [Path(path) for path in metrics]
    named = [{column: run[column] for column in RUN_COLUMNS} for run in runs]
    table = read_runs(paths, named)
    validation = table[table["split"] == "validation"].sort_values("step", kind="stable")
    for path, run in zip(paths, named, strict=True):
        if validation[(validation[list(RUN_COLUMNS)] == [run[column] for column in RUN_COLUMNS]).all(axis=1)].empty:
            raise ValueError(f"{path}: no rows of split 'validation'; train the model again with validation enabled")
    last = validation.groupby([*RUN_COLUMNS, "name"])["value"].last().unstack("name")
    last.insert(0, "step", validation.groupby(list(RUN_COLUMNS))["step"].max())
    judged = with_verdicts(last.reset_index())
    print(told(judged))
    write_text(Path(output), judged.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    record_provenance(
        Path(output),
        code=Code(__name__),
        settings={},
        inputs=named_inputs(paths, named),
        seed=None,
        wall_seconds=time.monotonic() - started,
    )
