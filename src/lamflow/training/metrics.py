"""Metrics of a training run: rows (step, split, name, value) in a CSV file and, if wanted, Weights & Biases."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path

from lamflow.atomic_files import write_text
from lamflow.training.precision import Precision
from lamflow.training.processes import is_main
from lamflow.training.settings import LoggingSettings
from lamflow.training.tracking import TrackedRun, Tracker

Row = tuple[int, str, str, float]
COLUMNS = ("step", "split", "name", "value")


class MetricsLog:
    """Collects rows in memory; the training loop keeps them in its checkpoints, so that a resumed run has them all.

    With ``settings.wandb`` the rows also go to Weights & Biases as ``run``; of several processes, those of the main one. Rows that
    a checkpoint brought back go there first, so that what an interrupted attempt had not sent is not missing. ``precision`` is what
    the training computes in, None before it begins.
    """

    def __init__(self, settings: LoggingSettings | None = None, run: TrackedRun | None = None) -> None:
        self.rows: list[Row] = []
        self.precision: Precision | None = None
        self._num_sent = 0
        self._tracker: Tracker | None = None
        if settings is not None and settings.wandb and run is not None and is_main():
            self._tracker = Tracker(settings, run)

    def log(self, step: int, split: str, values: Mapping[str, float]) -> None:
        """Add one row a value; ``split`` is train, validation or evaluation."""
        self.rows.extend((step, split, name, float(value)) for name, value in values.items())
        self._send()

    def latest(self, split: str) -> dict[str, float]:
        """The last value of every name of a split."""
        return {name: value for _, row_split, name, value in self.rows if row_split == split}

    def write(self, path: Path) -> None:
        """Write the CSV file atomically."""
        write_text(path, self._table())

    def finish(self) -> None:
        """Close the Weights & Biases run, if there is one."""
        self._send()
        if self._tracker is not None:
            self._tracker.finish(curves=hashlib.sha256(self._table().encode()).hexdigest())

    def _send(self) -> None:
        if self._tracker is not None:
            for step, rows in groupby(self.rows[self._num_sent :], key=lambda row: row[0]):
                self._tracker.log(step, {f"{split}/{name}": value for _, split, name, value in rows})
            self._num_sent = len(self.rows)

    def _table(self) -> str:
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows((step, split, name, f"{value:.6g}") for step, split, name, value in self.rows)
        return buffer.getvalue()
