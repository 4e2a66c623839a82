"""The progress of a run as text: a table, running trainings, the queue, failures, and the driver."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from lamflow.runs.events import Failure
from lamflow.runs.job_states import JobStatus, RunStatus, State
from lamflow.runs.plan import STAGES
from lamflow.runs.slurm_reasons import remedy
from lamflow.runs.training_lines import last_lines, last_training_line

MAX_ROWS = 30
"""Of the table before its seeds are summed."""
MAX_LISTED = 12
"""Of running jobs, and of failed ones, before the rest is only counted."""
LOG_LINES = 3
SHORT = {State.RUNNING: "r", State.QUEUED: "q", State.FAILED: "f", State.UNKNOWN: "?"}
STYLES = {"good": "32", "bad": "31;1", "active": "36", "dim": "2", "bold": "1"}
INTERRUPTED = f"exit status {os.EX_TEMPFAIL}"
"""Of a training that a signal has ended."""
CRASH = re.compile(r"[\w.]*(Error|Exception|Interrupted|Diverged)\b")
"""Of the last line of a traceback."""
ENDINGS = {
    "CANCELLED": "was cancelled",
    "DEADLINE": "reached its deadline",
    "FAILED": "failed",
    "NODE_FAIL": "lost its node",
    "OUT_OF_MEMORY": "ran out of memory",
    "PREEMPTED": "was preempted",
    "TIMEOUT": "reached its time limit",
}


@dataclass(frozen=True)
class Look:
    """How a screen is made: with colours, all seeds, all jobs."""

    colour: bool = False
    all_seeds: bool = False
    all_jobs: bool = False

    def paint(self, text: str, style: str) -> str:
        return f"\033[{STYLES[style]}m{text}\033[0m" if self.colour and style else text

    def listed(self, count: int) -> int:
        return count if self.all_jobs else min(count, MAX_LISTED)


def screen(run: RunStatus, results: Path, now: datetime, look: Look) -> str:
    """The whole screen; parts that have nothing to say are left out."""
    parts = [
        _summary(run, results, now, look),
        _table(run, look),
        _running(run, look),
        _queued(run, look),
        _failures(run, look),
        _advice(run, now),
    ]
    return "\n\n".join(part for part in parts if part)


# The first line -------------------------------------------------------------------------------------------------------


def _summary(run: RunStatus, results: Path, now: datetime, look: Look) -> str:
    done, total = run.count(State.DONE), len(run.jobs)
    others = [(state, run.count(state)) for state in State if state is not State.DONE]
    counts = ", ".join(f"{count} {state.value}" for state, count in others if count)
    until = run.changed if run.alive is False and not run.count(State.RUNNING) else now
    elapsed = duration((until - run.plan.started).total_seconds())
    head = look.paint(f"{results}: {done} of {total} jobs done", "bold")
    return f"{head}{', ' if counts else ''}{counts}; {elapsed} since {run.plan.started:%d %b %H:%M}"


def duration(seconds: float) -> str:
    """For people, to two places."""
    minutes = round(max(seconds, 0) / 60)
    if seconds < 90:
        return f"{max(seconds, 0):.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h {minutes % 60:02} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


# The table ------------------------------------------------------------------------------------------------------------


def _table(run: RunStatus, look: Look) -> str:
    cells: dict[tuple[str, str], dict[str, Counter[State]]] = defaultdict(lambda: defaultdict(Counter))
    summed = not look.all_seeds and len({(s.job.env, s.job.seed) for s in run.jobs}) > MAX_ROWS
    for status in run.jobs:
        row = (status.job.env, "" if summed else status.job.seed)
        cells[row][status.job.stage][status.state] += 1
    columns = [stage for stage in STAGES if any(stage in row for row in cells.values())]
    lines: list[list[tuple[str, str]]] = [[("", ""), *((column, "bold") for column in columns)]]
    shown_env = None
    for env, seed in sorted(cells, key=_order):
        name = env or "all environments"
        if seed and env == shown_env:
            name = f"  seed {seed}"
        elif seed:
            name = f"{name}, seed {seed}"
        shown_env = env
        lines.append([(name, ""), *(_cell(cells[env, seed].get(column)) for column in columns)])
    legend = "done/all jobs; r running, q queued in Slurm, f failed, ? not known; the others wait for their inputs or their turn"
    if summed:
        legend += "; --seeds shows each seed"
    return f"{_aligned(lines, look)}\n{look.paint(legend, 'dim')}"


def _order(row: tuple[str, str]) -> tuple[bool, str, int, str]:
    """Environments by name, before what is of all of them; seeds as numbers, after what is of all of them."""
    env, seed = row
    return not env, env, int(seed) if seed.isdigit() else -1, seed


def _cell(counts: Counter[State] | None) -> tuple[str, str]:
    """Text and style."""
    if not counts:
        return "", ""
    done, total = counts[State.DONE], counts.total()
    marks = [f"{counts[state]}{short}" for state, short in SHORT.items() if counts[state]]
    text = " ".join([f"{done}/{total}", *marks])
    if counts[State.FAILED]:
        return text, "bad"
    if done == total:
        return text, "good"
    return text, "active" if marks else "dim"


def _aligned(lines: Sequence[Sequence[tuple[str, str]]], look: Look) -> str:
    widths = [max(len(text) for text, _ in column) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            look.paint(text, style) + " " * (width - len(text))
            for (text, style), width in zip(line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


# Jobs -----------------------------------------------------------------------------------------------------------------


def _running(run: RunStatus, look: Look) -> str:
    running = [status for status in run.jobs if status.state is State.RUNNING]
    lines = [look.paint("Running", "bold")] if running else []
    for status in running[: look.listed(len(running))]:
        lines.append(f"  {status.job.title}{_place(status)}")
        if status.job.log and (line := last_training_line(run.plan.folder / status.job.log, run.plan.started)):
            percent = f"{100 * line.step / line.steps:.0f}%"
            pace = f"{line.samples_per_second} {line.unit}/s, {line.left} left"
            lines.append(f"    {line.counted} {line.step} of {line.steps} ({percent}), {pace}: {line.metrics}")
    return "\n".join([*lines, *_rest(running, look)])


def _place(status: JobStatus) -> str:
    slurm = status.slurm
    if slurm is None:
        return f" (Slurm job {status.submission.slurm_id}, has ended)" if status.submission else ""
    if slurm.has_ended:
        return f" (Slurm job {slurm.job_id}, {ENDINGS.get(slurm.state, 'has ended')}; Snakemake will see it within minutes)"
    return f" (Slurm job {slurm.job_id} on {slurm.node})"


def _rest(jobs: Sequence[JobStatus], look: Look) -> list[str]:
    hidden = len(jobs) - look.listed(len(jobs))
    return [f"  and {hidden} more; --all shows them"] if hidden else []


def _queued(run: RunStatus, look: Look) -> str:
    queued = {s.slurm.job_id: s.slurm for s in run.jobs if s.state is State.QUEUED and s.slurm}
    if not queued:
        return ""
    ids_by_reason: dict[str, list[str]] = defaultdict(list)
    for job in queued.values():
        ids_by_reason[job.reason].append(job.job_id)
    reasons = ", ".join(f"{len(ids)} {reason}" for reason, ids in ids_by_reason.items())
    lines = [f"{look.paint('Queued in Slurm', 'bold')}, with Slurm's reasons: {reasons}"]
    stuck = [_stuck(ids, reason, text, look) for reason, ids in ids_by_reason.items() if (text := remedy(reason))]
    if stuck:
        stuck.append("  What jobs ask for is set in slurm/config.yaml, which Snakemake reads when it is started again.")
    return "\n".join([*lines, *stuck])


def _stuck(ids: Sequence[str], reason: str, text: str, look: Look) -> str:
    shown = [*ids[: look.listed(len(ids))], *(["..."] if look.listed(len(ids)) < len(ids) else [])]
    jobs = f"Slurm job{'s' if len(ids) > 1 else ''} {', '.join(shown)}"
    return look.paint(f"  {jobs} will not start ({reason}): {text}.", "bad")


def _failures(run: RunStatus, look: Look) -> str:
    failed = [status for status in run.jobs if status.state is State.FAILED]
    retried = [
        status for status in run.jobs if status.events.failures and status.state not in (State.FAILED, State.DONE)
    ]
    lines = [look.paint("Failed", "bold")] if failed else []
    for status in failed[: look.listed(len(failed))]:
        lines += _failure(run, status, look)
    lines += _rest(failed, look)
    if waiting := len(_blocked(run)):
        lines.append(f"  Jobs that wait for these and will not be started: {waiting}.")
    if retried:
        lines.append(look.paint("Failed before, and tried again", "bold"))
    for status in retried[: look.listed(len(retried))]:
        attempts = len(status.events.failures)
        lines.append(
            f"  {status.job.title}: attempt {attempts} {_why(status.events.failures[-1], None)}; {_again(status)}"
        )
    return "\n".join([*lines, *_rest(retried, look)])


def _failure(run: RunStatus, status: JobStatus, look: Look) -> list[str]:
    failure, attempts = status.events.failures[-1], len(status.events.failures)
    where = f" (Slurm job {status.submission.slurm_id})" if status.submission else ""
    slurm_log = [status.submission.log] if status.submission else []
    logs = [run.plan.folder / log for log in dict.fromkeys([*failure.logs, *slurm_log])]
    lines = [look.paint(f"  {status.job.title}", "bad") + f": attempt {attempts}{where} {_why(failure, status)}"]
    for log in logs:
        if text := last_lines(log, run.plan.started):
            ending = text[-1:] if CRASH.match(text[-1]) else text[-LOG_LINES:]
            lines += [
                f"    {_relative(log, run.plan.folder)} ends with",
                *(f"      {line}" for line in ending),
            ]
    return lines if len(lines) > 1 else [*lines, "    There is no log of it."]


def _why(failure: Failure, status: JobStatus | None) -> str:
    """What happened to an attempt, as far as its events or squeue tell."""
    message = failure.message
    if state := failure.slurm_state:
        return ENDINGS.get(state, f"ended with Slurm's state {state}")
    if not message and status and status.slurm and status.slurm.has_ended:
        return ENDINGS.get(status.slurm.state, "failed")
    if message == INTERRUPTED:
        return f"was interrupted by a signal ({message}); its checkpoint is kept"
    return f"failed ({message})" if message else "failed"


def _again(status: JobStatus) -> str:
    if status.state is State.RUNNING:
        return "it runs again"
    return "it is queued again" if status.state is State.QUEUED else "it will be tried again"


def _blocked(run: RunStatus) -> set[int]:
    """The jobs that need a failed one, or one that needs one."""
    dependents: dict[int, list[int]] = defaultdict(list)
    for status in run.jobs:
        if status.state is State.WAITING:
            for needed in status.job.needs:
                dependents[needed].append(status.job.id)
    blocked: set[int] = set()
    pending = [status.job.id for status in run.jobs if status.state is State.FAILED]
    while pending:
        found = set(dependents[pending.pop()]) - blocked
        blocked |= found
        pending += found
    return blocked


def _relative(path: Path, folder: Path) -> Path:
    return path.relative_to(folder) if path.is_relative_to(folder) else path


# The driver -----------------------------------------------------------------------------------------------------------


def _advice(run: RunStatus, now: datetime) -> str:
    lines = []
    if run.queue is None and not run.ended:
        lines.append(f"Slurm does not answer: {run.slurm_error}. Submitted jobs are shown with a ?.")
    if not run.has_events:
        lines.append(
            f"{run.plan.events} cannot be read: what runs and what has failed is guessed from files and from Slurm's queue."
        )
    driver = run.plan.driver
    who = f"process {driver.pid} on {driver.host}" + (f", Slurm job {driver.slurm_job}" if driver.slurm_job else "")
    if run.alive:
        lines.append(f"Snakemake ({who}) is alive{', and stops as it was asked to' if run.stopping else ''}.")
    elif run.alive is None:
        ago = duration((now - run.changed).total_seconds())
        lines.append(f"Whether Snakemake ({who}) is alive can only be seen there; its log last changed {ago} ago.")
    elif run.count(State.DONE) == len(run.jobs):
        lines.append("Everything is done.")
    elif run.ended:
        lines.append(
            "Snakemake has ended. Start it again with the same command when the cause is mended: it goes on where it was, "
            "and finished jobs stay."
        )
    else:
        lines += _after_a_death(run, who)
    return "\n".join(lines)


def _after_a_death(run: RunStatus, who: str) -> Iterable[str]:
    yield f"Snakemake ({who}) is dead: it was killed, or it crashed."
    log = run.plan.snakemake_log
    if log and (lines := last_lines(log, run.plan.started)) and CRASH.match(lines[-1]):
        yield f"  {_relative(log, run.plan.folder)} ends with {lines[-1]}"
    orphans = [status for status in run.jobs if status.slurm and not status.slurm.has_ended]
    if orphans:
        yield f"{len(orphans)} of its Slurm jobs go on without it; the next start ends them, and trainings resume."
    yield "To go on: the same command as before. Finished jobs stay, and trainings go on from their checkpoints."
