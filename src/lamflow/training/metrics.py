"""Metrics of a training run: rows (step, split, name, value) in a CSV file and, if wanted, Weights & Biases."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lamflow.config import LoggingSettings
from lamflow.provenance import write_text
from lamflow.training.processes import is_main

Row = tuple[int, str, str, float]
COLUMNS = ("step", "split", "name", "value")


class MetricsLog:
    """Collects rows in memory; the training loop keeps them in its checkpoints, so that a resumed run has them all.

    With ``settings.wandb`` the rows also go to Weights & Biases, offline unless asked otherwise; of several processes, those of the
    main one.
    """

    def __init__(
        self, settings: LoggingSettings | None = None, *, run_name: str = "", directory: Path | None = None
    ) -> None:
        self.rows: list[Row] = []
        self._run: Any = None
        if settings is not None and settings.wandb and is_main():
            import wandb

            self._run = wandb.init(
                project=settings.wandb_project,
                mode=settings.wandb_mode,
                name=run_name,
                id=run_name.replace("/", "-") or None,
                resume="allow",
                dir=str(directory) if directory else None,
            )

    def log(self, step: int, split: str, values: Mapping[str, float]) -> None:
        """Add one row a value; ``split`` is train or validation."""
        self.rows.extend((step, split, name, float(value)) for name, value in values.items())
        if self._run is not None:
            self._run.log({f"{split}/{name}": float(value) for name, value in values.items()}, step=step)

    def latest(self, split: str) -> dict[str, float]:
        """The last value of every name of a split."""
        return {name: value for _, row_split, name, value in self.rows if row_split == split}

    def write(self, path: Path) -> None:
        """Write the CSV file atomically."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows((step, split, name, f"{value:.6g}") for step, split, name, value in self.rows)
        write_text(path, buffer.getvalue())

    def finish(self) -> None:
        """Close the Weights & Biases run, if there is one."""
        if self._run is not None:
            self._run.finish()
