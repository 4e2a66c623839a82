"""The rule ``summarise_policy_returns``: returns of policies against the steps of their training, as a table."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from lamflow.atomic_files import write_text
from lamflow.code_digests import Code
from lamflow.evaluation.policy_returns import policy_returns
from lamflow.evaluation.references import reference_errors
from lamflow.provenance import record_provenance


def summarise_policy_returns(
    *,
    curves: Sequence[Path | str],
    output: Path | str,
    bootstrap_samples: int,
    episodes: Sequence[Path | str] = (),
) -> None:
    """Write the means over seeds with 95% intervals of the policies' ``curve.csv``, columns ``columns.POLICY_RETURNS_COLUMNS``.

    ``episodes``: the environments' test stores, which know the errors of the references. ValueError when a file is malformed; nothing is
    written then.
    """
    started = time.monotonic()
    paths = [Path(path) for path in curves]
    table = policy_returns(paths, reference_errors(episodes), samples=bootstrap_samples)
    write_text(Path(output), table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    record_provenance(
        Path(output),
        code=Code(__name__),
        settings={"bootstrap_samples": bootstrap_samples},
        inputs={str(path): path for path in paths},
        seed=None,
        wall_seconds=time.monotonic() - started,
    )
