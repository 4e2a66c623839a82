"""How often Snakemake's scheduler wakes in a run of many jobs that are all ready."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake.settings.types import MaxJobsPerTimespan, SchedulingSettings

from lamflow.runs.wakeups import wake_for_jobs_alone

JOBS = 30
"""The target's among them."""
SNAKEFILE = """
from lamflow.runs.wakeups import wake_for_jobs_alone

onstart:
    if config.get("mended"):
        wake_for_jobs_alone(workflow, executor_keeps_limit=False)

rule all:
    input: expand("{number}", number=range(29))

rule one:
    output: "{number}"
    shell: "sleep 0.3; touch {output}"
"""


def passes(folder: Path, *options: str) -> int:
    """Of the scheduler, each of which tells what is free."""
    folder.mkdir()
    folder.joinpath("Snakefile").write_text(SNAKEFILE)
    command = [sys.executable, "-m", "snakemake", "--cores=2", "--verbose", *options]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    return run.stderr.count("Resources before job selection")


@pytest.mark.whole
def test_jobs_that_finish_do_not_add_to_the_passes_of_all_time_to_come(tmp_path: Path) -> None:
    own, mended = passes(tmp_path / "own"), passes(tmp_path / "mended", "--config", "mended=1")
    assert own > 2 * mended, "Snakemake does this itself now: lamflow.runs.wakeups can go"
    assert JOBS / 2 <= mended <= JOBS + 2


@pytest.mark.parametrize(
    ("limit", "by_executor", "taken"),
    [("100/1s", False, True), ("99/1s", False, False), ("100/1m", False, False), ("2/1s", True, True)],
)
def test_a_limit_that_somebody_has_set_stays_unless_the_executor_keeps_to_it(
    limit: str, by_executor: bool, taken: bool
) -> None:
    settings = SchedulingSettings(max_jobs_per_timespan=MaxJobsPerTimespan.parse_choice(limit))
    workflow = SimpleNamespace(scheduling_settings=settings, scheduler=SimpleNamespace(job_rate_limiter="a limiter"))
    wake_for_jobs_alone(workflow, executor_keeps_limit=by_executor)
    assert (workflow.scheduler.job_rate_limiter is None) is taken
