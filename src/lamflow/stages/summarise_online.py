"""The rule ``summarise_online``: learning curves of online trainings as a table, and how many steps they save."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from lamflow.atomic_files import write_text
from lamflow.code_digests import Code
from lamflow.evaluation.online import curve_estimates, read_online_curves, sample_efficiency
from lamflow.evaluation.references import reference_errors
from lamflow.provenance import record_provenance


def summarise_online(
    *,
    curves: Sequence[Path | str],
    output_curves: Path | str,
    output_efficiency: Path | str,
    bootstrap_samples: int,
    episodes: Sequence[Path | str] = (),
) -> None:
    """Write the means over seeds with 95% intervals of the runs' ``curve.csv``, and the comparison of each two methods
    at a tenth of the steps that one of them needs to converge. ``episodes``: the environments' test stores, which know the errors of the
    references. ValueError when a file is malformed; nothing is written then."""
    started = time.monotonic()
    paths = [Path(path) for path in curves]
    estimates = curve_estimates(read_online_curves(paths, reference_errors(episodes)), samples=bootstrap_samples)
    tables = {Path(output_curves): estimates, Path(output_efficiency): sample_efficiency(estimates)}
    for output, table in tables.items():
        write_text(output, table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
        record_provenance(
            output,
            code=Code(__name__),
            settings={"bootstrap_samples": bootstrap_samples},
            inputs={str(path): path for path in paths},
            seed=None,
            wall_seconds=time.monotonic() - started,
        )
