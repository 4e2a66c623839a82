"""What a planned run will cost: a table by rule of jobs, GPU hours, core hours, memory and disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from lamflow.runs.costs import expected_seconds, foreseen_work
from lamflow.runs.rates import Device
from lamflow.runs.scope import Scope

COLUMNS = ("rule", "jobs", "GPUs a job", "GPU hours", "core hours", "largest MB", "disk GB")


@dataclass(frozen=True)
class PlannedJob:
    """One job: its rule and wildcards, what it asks for, and whether its networks run on a GPU or on its cores. ``shown``: what the rule
    is called where it was renamed."""

    rule: str
    wildcards: Mapping[str, str]
    gpus: int
    cores: int
    mem_mb: int
    device: Device
    shown: str = ""


class Cost(NamedTuple):
    """Of the jobs of one rule, or of all: hours of GPUs and of cores are sums, ``gpus`` and ``mem_mb`` those of the largest job."""

    jobs: int
    gpus: int
    gpu_hours: float
    core_hours: float
    mem_mb: int
    disk_gb: float

    def plus(self, other: Cost) -> Cost:
        """Both together."""
        return Cost(
            self.jobs + other.jobs,
            max(self.gpus, other.gpus),
            self.gpu_hours + other.gpu_hours,
            self.core_hours + other.core_hours,
            max(self.mem_mb, other.mem_mb),
            self.disk_gb + other.disk_gb,
        )


def cost_of(scope: Scope, job: PlannedJob) -> Cost:
    """The expected cost of one job, without a margin."""
    processors = job.gpus if job.device == "gpu" else job.cores
    hours = expected_seconds(scope, job.rule, job.wildcards, device=job.device, processors=processors) / 3600
    gpus = job.gpus if job.device == "gpu" else 0
    disk = foreseen_work(scope, job.rule, job.wildcards).output_bytes / 1e9
    return Cost(1, gpus, gpus * hours, job.cores * hours, job.mem_mb, disk)


def costs_by_rule(scope: Scope, jobs: Iterable[PlannedJob]) -> dict[str, Cost]:
    """The costs of all jobs, by rule in the order of first appearance."""
    costs: dict[str, Cost] = {}
    for job in jobs:
        cost = cost_of(scope, job)
        name = job.shown or job.rule
        costs[name] = costs[name].plus(cost) if name in costs else cost
    return costs


def estimate_table(scope: Scope, jobs: Iterable[PlannedJob]) -> str:
    """The table as text: the dearest rules first, a total, and where the rates were measured."""
    jobs = list(jobs)
    costs = costs_by_rule(scope, jobs)
    ordered = sorted(costs, key=lambda rule: (-costs[rule].gpu_hours, -costs[rule].core_hours, rule))
    total = Cost(0, 0, 0.0, 0.0, 0, 0.0)
    for cost in costs.values():
        total = total.plus(cost)
    rows = [COLUMNS, *(_row(rule, costs[rule]) for rule in ordered), _row("total", total)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = ["  ".join(_aligned(row, widths)) for row in rows]
    rule_line = "  ".join("-" * width for width in widths)
    devices: list[Device] = [device for device in ("gpu", "cpu") if any(job.device == device for job in jobs)]
    origins = [f"{device.upper()} rates: {scope.rates.origin.get(device, 'of unknown origin')}" for device in devices]
    origins += [f"not measured: {line}" for line in sorted(set(_stand_ins(scope, jobs)))]
    return "\n".join(["Estimate of the planned jobs:", lines[0], rule_line, *lines[1:], *origins])


def _stand_ins(scope: Scope, jobs: Iterable[PlannedJob]) -> Iterator[str]:
    """A line for each kind of work without rates of its own: which were taken."""
    for job in jobs:
        for task in foreseen_work(scope, job.rule, job.wildcards).tasks:
            frames = scope.frames_of(scope.experiment.environment(job.wildcards["env"]))
            kind, measured_frames = scope.rates.measured_as(task.kind, frames)
            if (kind, measured_frames) != (task.kind, frames):
                yield f"{task.kind} over {frames}; its rates are those of {kind} over {measured_frames}"


def _row(name: str, cost: Cost) -> tuple[str, ...]:
    return (
        name,
        str(cost.jobs),
        str(cost.gpus),
        _figure(cost.gpu_hours),
        _figure(cost.core_hours),
        str(cost.mem_mb),
        _figure(cost.disk_gb),
    )


def _figure(value: float) -> str:
    """Two figures of small numbers, none behind the point of large ones; an estimate has no more."""
    return f"{value:,.0f}" if value >= 10 or value == 0 else f"{value:.2g}"


def _aligned(row: tuple[str, ...], widths: list[int]) -> list[str]:
    """Names to the left, numbers to the right."""
    return [
        cell.ljust(width) if column == 0 else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
