"""The rule ``plot_policy_returns``: returns of policies against the steps of their training."""

from __future__ import annotations

import time
from pathlib import Path

from lamflow.code_digests import Code
from lamflow.data.label_budgets import REFERENCE_LABELS
from lamflow.evaluation.policy_returns import read_policy_returns
from lamflow.plots.policy_returns import draw_policy_returns
from lamflow.plots.style import save_figure
from lamflow.provenance import record_provenance


def plot_policy_returns(*, returns: Path | str, labels: str | int, output: Path | str) -> None:
    """Draw the rows of ``summary/policy_returns.csv`` of ``labels`` labels, and of methods that have no number of labels, as
    ``output`` (.svg or .png)."""
    started = time.monotonic()
    table = read_policy_returns(Path(returns))
    shown = table[table["labels"].isin((str(labels), *REFERENCE_LABELS))]
    save_figure(draw_policy_returns(shown), Path(output))
    record_provenance(
        Path(output),
        code=Code(__name__),
        settings={"labels": str(labels)},
        inputs={"returns": Path(returns)},
        seed=None,
        wall_seconds=time.monotonic() - started,
    )
