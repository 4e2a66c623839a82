"""The report of a run of which some jobs failed: what is there is shown, and the first page says what is missing and why."""

from __future__ import annotations

import atexit
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from lamflow.atomic_files import write_text
from lamflow.runs.plan import Dag, DagJob

MISSING = "missing.rst"
"""The file in an experiment's results that says what its last run could not make; workflow/report/workflow.rst shows it."""
LEFT_OUT = "missing.json"
"""Beside it: the paths of these results, which the report leaves out."""
TARGET = "made_results"
"""The rule of the Snakefile that has all final results for inputs which are there."""
LONGEST_REASON = 500


def unmade_results(dag: Dag, results: Iterable[str]) -> list[str]:
    """Of ``results`` those that the run should have made and has not. Files of an earlier run may stand there: of other settings, data or
    code."""
    makers = _makers(dag)
    return [
        path
        for path in results
        if path in makers
        and (not Path(path).exists() or (dag.needrun(makers[path]) and not dag.finished(makers[path])))
    ]


def describe_missing(dag: Dag, failed: Collection[DagJob], unmade: Iterable[str]) -> str:
    """The jobs that failed, with their logs and the last lines of those, and what could not be made, as reStructuredText.

    ``failed``: the jobs that failed. ``unmade``: of ``unmade_results``.
    """
    makers = _makers(dag)
    jobs = [job for part in failed for job in getattr(part, "jobs", [part])]  # of Slurm's groups, too
    causes = {path: _failed_jobs(dag, makers[path], jobs) for path in unmade}
    stopped = [path for path, found in causes.items() if not found]
    parts = {
        "Failed:": sorted(map(_title, jobs)),
        "Missing for that:": [f"``{path}``" for path in causes if path not in stopped],
        "Missing as the run stopped before:": [f"``{path}``" for path in stopped],
    }
    head = (
        f"**This report is not complete: {len(causes)} of its results could not be made.** The same command makes them. What an earlier "
        "run left in their places is not shown."
    )
    lists = [f"{title}\n\n" + "\n".join(f"- {line}" for line in lines) for title, lines in parts.items() if lines]
    return "\n\n".join([head, *lists]) + "\n"


def _makers(dag: Dag) -> dict[str, DagJob]:
    return {str(path): job for job in dag.jobs for path in job.output}


def _failed_jobs(dag: Dag, job: DagJob, failed: Collection[DagJob]) -> list[DagJob]:
    """The failed ones among the job and those that it needs, directly or not."""
    found, waiting, seen = [], [job], {job}
    while waiting:
        here = waiting.pop()
        if here in failed:
            found.append(here)
        new = [needed for needed in dag.dependencies[here] if needed not in seen]
        seen.update(new)
        waiting += new
    return found


def _title(job: DagJob) -> str:
    """Which job failed, and what the end of its log says."""
    values = ", ".join(str(value) for name, value in job.wildcards_dict.items() if name != "experiment")
    title = f"``{job.rule.name}``" + (f" ({values})" if values else "")
    if not job.log:
        return title
    log = Path(str(job.log[0]))
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    reason = next((line.strip() for line in reversed(lines) if line.strip()), "it says nothing")
    return f"{title}, log ``{log}``: *{_plain(reason[:LONGEST_REASON])}*"


def _plain(text: str) -> str:
    """Text with the marks of reStructuredText escaped."""
    return "".join(f"\\{letter}" if letter in "\\*`_|<>" else letter for letter in text)


def report_options(command_line: Sequence[str]) -> tuple[Path | None, list[str]]:
    """The report that Snakemake's ``command_line`` asks for, and those of its options that say which experiment it is of."""
    from snakemake.cli import parse_args

    _, given = parse_args(list(command_line))
    options = []
    for name in ("snakefile", "configfile", "config", "directory"):
        values = getattr(given, name) or []
        values = [values] if isinstance(values, str | Path) else values
        options += [f"--{name}", *map(str, values)] if values else []
    return (Path(given.report) if given.report else None), options


def report_at_exit(report: Path, arguments: Sequence[str]) -> None:
    """Make the report of what is there when this process, which drives a run, ends: before, Snakemake has the folder locked.

    ``arguments``: the options of Snakemake that say which experiment it is.
    """
    # The Snakefile has quoted the interpreter for Snakemake's shell commands.
    command = [*shlex.split(sys.executable), "-m", "snakemake", "--report", str(report), *arguments, "--", TARGET]
    atexit.register(_make_report, report, command, os.getpid())


def _make_report(report: Path, command: Sequence[str], driver: int) -> None:
    if os.getpid() != driver:
        return
    made = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace", check=False
    )
    if made.returncode == 0:
        print(f"{report}: made without what failed; its first page says what is missing and why.", file=sys.stderr)
    else:
        print(f"{report}: could not be made.\n{made.stdout[-3000:]}", file=sys.stderr)


def forget_missing(results: Path) -> None:
    """Remove what an earlier run said: all is there."""
    for name in (MISSING, LEFT_OUT):
        results.joinpath(name).unlink(missing_ok=True)


def note_missing(results: Path, text: str, unmade: Sequence[str]) -> None:
    """Write what is missing where the report finds it, and what ``left_out`` reads."""
    write_text(results / MISSING, text)
    write_text(results / LEFT_OUT, json.dumps(list(unmade), indent=2) + "\n")


def left_out(results: Path) -> list[str]:
    """What the last run could not make, although files of an earlier one may be there."""
    noted = results / LEFT_OUT
    return json.loads(noted.read_text(encoding="utf-8")) if noted.exists() else []
