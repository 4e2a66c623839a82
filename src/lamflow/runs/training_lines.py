"""The lines by which a training, or an import, says in its job's log how far it is: ``lamflow.training.progress_lines`` and
``lamflow.data.import_progress`` print them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

TAIL_BYTES = 8192
LINE = re.compile(
    r"^(?P<title>.+): (?P<counted>step|row|episode) (?P<step>\d+) of (?P<steps>\d+): (?P<metrics>.*) "
    r"\((?P<rate>\d+) (?P<unit>samples|rows)/s, (?P<left>.+) left\)$"
)


@dataclass(frozen=True)
class TrainingLine:
    """Of a training, the last step that it told of; of an import the last row, or episode, as ``counted`` says. ``metrics`` and ``left``
    (time) are text as printed; ``unit``: of what the rate is."""

    title: str
    step: int
    steps: int
    metrics: str
    samples_per_second: int
    left: str
    counted: str = "step"
    unit: str = "samples"


def last_training_line(log: Path, since: datetime) -> TrainingLine | None:
    """The last one in a job's log, or None; arguments as of ``last_lines``."""
    for line in reversed(last_lines(log, since)):
        if match := LINE.match(line):
            step, steps, rate = int(match["step"]), int(match["steps"]), int(match["rate"])
            return TrainingLine(
                match["title"], step, steps, match["metrics"], rate, match["left"], match["counted"], match["unit"]
            )
    return None


def last_lines(log: Path, since: datetime) -> list[str]:
    """The lines at the end of a file that are not blank, of its last ``TAIL_BYTES``; [] when it cannot be read, or was last
    written before ``since``, by an earlier run."""
    try:
        if log.stat().st_mtime < since.timestamp():
            return []
        with log.open("rb") as opened:
            opened.seek(0, 2)
            opened.seek(max(0, opened.tell() - TAIL_BYTES))
            text = opened.read().decode(errors="replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()]
