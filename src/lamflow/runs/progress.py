"""How far a run is: ``python -m lamflow.runs.progress [results/<experiment>] [--watch SECONDS]``, from any terminal."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from lamflow.runs.job_states import RunStatus, run_status
from lamflow.runs.plan import PLAN, read_plan
from lamflow.runs.screen import Look, screen

CLEAR = "\033[H\033[2J"
"""The cursor to the top, the screen empty."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the progress; 0, or 2 after a message when there is nothing to show."""
    parser = argparse.ArgumentParser(prog="python -m lamflow.runs.progress", description="How far a run is.")
    parser.add_argument(
        "results",
        nargs="?",
        type=Path,
        help="an experiment's results folder; by default the last one that was run here, and all whose runs go on",
    )
    parser.add_argument("--watch", type=float, nargs="?", const=10.0, metavar="SECONDS", help="show it again and again")
    parser.add_argument("--seeds", action="store_true", help="a row for each seed, however many there are")
    parser.add_argument("--all", action="store_true", help="all running and failed jobs, however many there are")
    given = parser.parse_args(arguments)
    look = Look(colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ, all_seeds=given.seeds, all_jobs=given.all)
    try:
        shown = [given.results] if given.results else shown_results(Path("results"))
        while True:
            looked = [_looked(results, look) for results in shown]
            text = "\n\n\n".join(text for _, text in looked)
            print(CLEAR * (given.watch is not None and sys.stdout.isatty()) + text, flush=True)
            if given.watch is None or all(run.alive is False for run, _ in looked):
                return 0
            time.sleep(max(given.watch, 1.0))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0


def shown_results(root: Path) -> list[Path]:
    """The experiment under ``root`` that was started last, after the others whose runs go on; ValueError when none was started."""
    plans = sorted(root.glob(f"*/{PLAN}"), key=lambda path: path.stat().st_mtime)
    if not plans:
        raise ValueError(
            f"{root.resolve()}: no run has been started here. Give the results folder of an experiment, like "
            "results/quickstart, or call this in the folder in which Snakemake runs"
        )
    *others, newest = [path.parent for path in plans]
    return [*(results for results in others if _goes_on(results)), newest]


def _goes_on(results: Path) -> bool:
    try:
        return run_status(read_plan(results)).alive is True
    except ValueError:  # of another version of lamflow
        return False


def _looked(results: Path, look: Look) -> tuple[RunStatus, str]:
    plan = read_plan(results)
    run = run_status(plan)
    text = screen(run, results, datetime.now().astimezone(), look)
    here = results.resolve().parent.parent
    if not _same_folder(plan.folder, here):
        text += (
            f"\nThis plan is of a run in {plan.folder}, not of one in {here}: what is shown is how things stand there, as far "
            "as it can be seen from here."
        )
    return run, text


def _same_folder(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main())
