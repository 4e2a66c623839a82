"""The plan of a run: its jobs and its driver, which the driver writes down when it starts, for people who look at it from elsewhere."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from lamflow.atomic_files import write_text
from lamflow.runs.slurm_queue import job_comment

PLAN = "plan.json"
STAGES = ("experts", "episodes", "LAM", "latents", "decoders", "policies", "rollouts", "results")
STAGE_OF_RULE = {
    "train_expert": "experts",
    "train_pixel_expert": "experts",
    "measure_expert": "experts",
    "collect_episodes": "episodes",
    "download_lapo": "episodes",
    "download_dgrl": "episodes",
    "import_lapo": "episodes",
    "import_dgrl": "episodes",
    "import_episodes": "episodes",
    "train_lam": "LAM",
    "relabel_episodes": "latents",
    "train_action_decoders": "decoders",
    "train_policy": "policies",
    "train_evaluated_policy": "policies",
    "finetune_online": "policies",
    "evaluate_agents": "rollouts",
    "score_actions": "rollouts",
}
"""All other rules make tables and plots."""


class DagJob(Protocol):
    """What a plan reads of Snakemake's jobs."""

    rule: Any
    wildcards_dict: Mapping[str, Any]
    output: Iterable[Any]
    log: Sequence[Any]
    is_local: bool
    restart_times: int


class Dag(Protocol):
    """What a plan reads of Snakemake's graph of jobs."""

    @property
    def jobs(self) -> Iterable[DagJob]: ...

    @property
    def dependencies(self) -> Mapping[Any, Iterable[DagJob]]: ...

    def jobid(self, job: Any) -> int: ...

    def needrun(self, job: Any) -> bool: ...

    def finished(self, job: Any) -> bool: ...

    def get_job_group(self, job: Any) -> Any: ...


class _Written(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RunJob(_Written):
    """One job; ``id`` is Snakemake's number of it in this run."""

    id: int
    rule: str
    wildcards: dict[str, str]
    outputs: list[str]
    log: str | None
    needed: bool
    """Whether the run has to do it; the others were done before."""
    local: bool
    """Whether it runs beside the driver, as all jobs do without a cluster."""
    attempts: int
    """How often it is tried at most."""
    submitted_as: str
    """What Snakemake calls it when it is submitted: its number, or its group's id."""
    needs: list[int]
    """The jobs whose outputs it reads."""

    @property
    def stage(self) -> str:
        return STAGE_OF_RULE.get(self.rule, STAGES[-1])

    @property
    def env(self) -> str:
        """The environment, or "" for jobs of all environments."""
        game = self.wildcards.get("game")
        return self.wildcards.get("env", f"procgen-{game}" if game else "")

    @property
    def seed(self) -> str:
        """The seed, or "" for jobs of all seeds."""
        return self.wildcards.get("seed", "")

    @property
    def comment(self) -> str:
        """Of its Slurm job."""
        return job_comment(self.rule, "_".join(self.wildcards.values()).replace("/", "_"))

    @property
    def title(self) -> str:
        """For people: the rule and what distinguishes the job from others of it."""
        values = [
            f"seed {value}" if name == "seed" else value
            for name, value in self.wildcards.items()
            if name != "experiment"
        ]
        return " ".join([self.rule, *values])


class Driver(_Written):
    """The process of Snakemake that hands out the jobs."""

    pid: int
    host: str
    ticks: int | None
    """When the process started, in the kernel's clock ticks; tells it from a later process with its number."""
    slurm_job: str | None
    """The Slurm job that it is, if it is one."""

    @classmethod
    def this_process(cls, slurm_job: str | None) -> Driver:
        return cls(pid=os.getpid(), host=socket.gethostname(), ticks=_start_ticks(os.getpid()), slurm_job=slurm_job)

    def runs_here(self) -> bool | None:
        """Whether the process lives; None on another host, where it cannot be known."""
        if self.host != socket.gethostname():
            return None
        if self.ticks is not None:
            return _start_ticks(self.pid) == self.ticks
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


def _start_ticks(pid: int) -> int | None:
    """proc_pid_stat(5): the 22nd field; None where there is no such process, or no /proc, and for one that has ended."""
    try:
        state, *fields = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
        return None if state == "Z" else int(fields[18])
    except (OSError, ValueError, IndexError):
        return None


class Plan(_Written):
    """A run as it was when it started. Paths are relative to ``folder``, the folder in which Snakemake runs."""

    folder: Path
    events: Path
    """What the driver has noted since, as `lamflow.runs.events` reads it."""
    snakemake_log: Path | None
    started: datetime
    driver: Driver
    jobs: list[RunJob]


def write_plan(
    path: Path,
    dag: Dag,
    *,
    events: Path,
    snakemake_logs: Sequence[str | Path],
    slurm_job: str | None,
    folder: Path | None = None,
) -> None:
    """Write the plan of the run that this process drives, atomically. ``events`` is where its events are noted; ``snakemake_logs`` is what
    Snakemake gives its hooks as ``log``."""
    plan = Plan(
        folder=(folder or Path.cwd()).resolve(),
        events=events,
        snakemake_log=Path(snakemake_logs[-1]) if snakemake_logs else None,
        started=datetime.now().astimezone(),
        driver=Driver.this_process(slurm_job),
        jobs=sorted((_planned(job, dag) for job in dag.jobs if list(job.output)), key=lambda job: job.id),
    )
    write_text(path, plan.model_dump_json() + "\n")


def _planned(job: DagJob, dag: Dag) -> RunJob:
    number, group = dag.jobid(job), dag.get_job_group(job)
    return RunJob(
        id=number,
        rule=job.rule.name,
        wildcards={name: str(value) for name, value in job.wildcards_dict.items()},
        outputs=[str(path) for path in job.output],
        log=str(job.log[0]) if job.log else None,
        needed=bool(dag.needrun(job)),
        local=bool(job.is_local),
        attempts=1 + (group or job).restart_times,
        submitted_as=str(group.jobid if group else number),
        needs=sorted(dag.jobid(needed) for needed in dag.dependencies[job]),
    )


def read_plan(results: Path) -> Plan:
    """The plan of the last run that wrote to ``results``. ValueError says what is missing."""
    path = results / PLAN
    if not results.is_dir():
        raise ValueError(
            f"{results}: no such folder; give the results folder of an experiment, like results/quickstart"
        )
    try:
        return Plan.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise ValueError(
            f"{path}: there is no plan. Snakemake writes it when it starts its first job; give the results folder of an "
            "experiment, like results/quickstart, once its run has started"
        ) from None
    except ValidationError:
        raise ValueError(
            f"{path}: the plan is damaged, or another version of lamflow wrote it; the next run writes it anew"
        ) from None
