"""What a training says in the log of its job: how far it is, and how it went."""

from __future__ import annotations

import time
from collections.abc import Mapping

from lamflow.training.meters import NORM
from lamflow.training.precision import Precision
from lamflow.training.settings import TrainingSettings
from lamflow.training.time_left import time_left

SECONDS_BETWEEN_LINES = 5.0


class ProgressLines:
    """Prints lines that start with ``title``; an empty title prints nothing.

    ``lamflow.runs.training_lines`` reads them. Rates are means since the object was made, which is at ``first_step``.
    """

    def __init__(self, title: str, settings: TrainingSettings, first_step: int) -> None:
        self._title = title
        self._settings = settings
        self._first_step = first_step
        self._started = self._last_line = time.monotonic()

    def begin(self, precision: Precision) -> None:
        """Say what ``precision: auto`` took, and why."""
        if self._title and self._settings.precision == "auto":
            print(f"{self._title}: precision {precision}", flush=True)

    def tell(self, step: int, metrics: Mapping[str, float]) -> None:
        """Say how far the training is after ``step`` steps, unless that was said less than ``SECONDS_BETWEEN_LINES`` ago."""
        now = time.monotonic()
        steps = self._settings.steps
        if not self._title or step == steps or now - self._last_line < SECONDS_BETWEEN_LINES:
            return
        self._last_line = now
        seconds, rate = self._seconds_and_rate(step)
        left = seconds * (steps - step) / (step - self._first_step)
        shown = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items() if name != NORM)
        print(
            f"{self._title}: step {step} of {steps}: {shown} ({rate:.0f} samples/s, {time_left(left)} left)", flush=True
        )

    def end(self, step: int, best: str) -> None:
        """Say how it went when it has ended after ``step``; ``best`` is a clause about the watched metric, or empty."""
        if not self._title:
            return
        seconds, rate = self._seconds_and_rate(step)
        closing = f"; {best}" if best else ""
        done = step - self._first_step
        print(f"{self._title}: {done} steps in {seconds:.1f} s ({rate:.0f} samples/s){closing}")

    def _seconds_and_rate(self, step: int) -> tuple[float, float]:
        """Seconds since the start, and samples a second."""
        seconds = time.monotonic() - self._started
        return seconds, (step - self._first_step) * self._settings.batch_size / max(seconds, 1e-9)
