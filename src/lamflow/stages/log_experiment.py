"""Tables and figures of an experiment, as one run at Weights & Biases."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lamflow.atomic_files import write_text
from lamflow.code_digests import Code
from lamflow.provenance import file_digest
from lamflow.training.settings import LoggingSettings
from lamflow.training.tracking import TrackedRun, Tracker

AGGREGATE = "summary/aggregate"
SHOWN = frozenset({".csv", ".svg", ".png", ".gif"})
STATISTICS = ("mean", "iqm", "success_rate")


def log_experiment(
    *,
    experiment: str,
    settings: Mapping[str, Any],
    logging: Mapping[str, Any],
    results: Sequence[Path | str],
    trainings: Sequence[str],
    experiment_dir: Path | str,
    output: Path | str,
) -> None:
    """Send ``results``, files under ``experiment_dir``, and write to ``output`` (JSON) what was sent and what was not.

    CSV files become tables, SVG, PNG and GIF files figures; others are not sent. ``settings``: the whole configuration.
    ``trainings``: the folders under ``experiment_dir`` of all trainings; those whose curves no run has are named. What Weights &
    Biases refuses ends nothing: the output says it.
    """
    folder, typed = Path(experiment_dir), LoggingSettings.model_validate(logging)
    shown, unknown = _by_key(folder, results)
    without = [training for training in trainings if not has_curves(folder, training)]
    run = TrackedRun(
        experiment_dir=folder,
        kind="experiment",
        name="experiment",
        identity=experiment,
        code=Code(__name__),
        settings=settings,
        inputs={key: file_digest(path) for key, path in shown.items()},
        part_facts={"trainings_without_curves": without},
    )
    tracker = Tracker(typed, run)
    sent = [key for key, path in shown.items() if tracker.show(partial(_media, key, path))]
    if AGGREGATE in shown:
        tracker.summarise(_headline(shown[AGGREGATE]))
    tracker.finish()
    not_sent = [str(path.relative_to(folder)) for path in unknown] + [key for key in shown if key not in sent]
    facts = {
        "run": tracker.id,
        "project": typed.wandb_project,
        "mode": typed.wandb_mode,
        "sent": sent,
        "not_sent": sorted(not_sent),
        "trainings_without_curves": without,
        "error": tracker.error or None,
    }
    write_text(Path(output), json.dumps(facts, indent=2) + "\n")


def has_curves(experiment_dir: Path, training: str) -> bool:
    """Whether runs have all curves of the training whose folder this is: those that its metrics file holds now."""
    metrics, records = experiment_dir / training / "metrics.csv", experiment_dir / "wandb" / "runs" / training
    if not metrics.is_file() or not records.is_dir():
        return False
    found = [json.loads(path.read_text(encoding="utf-8")) for path in records.glob("*.json")]
    first = next((record for record in found if record["part"] == 0), None)
    if first is None or first["curves"] != file_digest(metrics):
        return False
    return sum(record["identity"] == first["identity"] for record in found) == first["parts"]


def _by_key(folder: Path, results: Sequence[Path | str]) -> tuple[dict[str, Path], list[Path]]:
    """The files that can be shown, by their paths in ``folder`` without the suffix; and the others."""
    paths = [Path(path) for path in results]
    shown = {str(path.relative_to(folder).with_suffix("")): path for path in paths if path.suffix in SHOWN}
    return shown, [path for path in paths if path.suffix not in SHOWN]


def _media(key: str, path: Path) -> dict[str, Any]:
    """A file as Weights & Biases shows it."""
    import wandb

    if path.suffix == ".csv":
        header, *rows = _rows(path)
        cells = [[_cell(text) for text in row] for row in rows]
        return {key: wandb.Table(columns=[*header], data=cells, allow_mixed_types=True)}
    if path.suffix == ".svg":
        return {key: wandb.Html(path.read_text(encoding="utf-8"), data_is_not_path=True)}
    return {key: wandb.Video(str(path), format="gif") if path.suffix == ".gif" else wandb.Image(str(path))}


def _rows(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as opened:
        return list(csv.reader(opened))


def _cell(text: str) -> str | float | None:
    """A number where the text is one; None where there is none."""
    try:
        return float(text) if text else None
    except ValueError:
        return text


def _headline(aggregate: Path) -> dict[str, Any]:
    """The statistics of each environment, method and label count."""
    header, *rows = _rows(aggregate)
    found = [dict(zip(header, row, strict=True)) for row in rows]
    return {
        f"{name}/{row['env']}/{row['method']}/{row['labels']}": _cell(row[name]) for row in found for name in STATISTICS
    }
