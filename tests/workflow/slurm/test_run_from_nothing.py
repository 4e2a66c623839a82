"""``snakemake --profile slurm all`` on two nodes with a GPU each, while slurmctld is away for half a minute."""

import re
from pathlib import Path

import pytest
from driving import Driver, witnessed
from whole import GPU_RULES, IN_PART, WholeRun

GRACE_SECONDS = 30
"""What was asked while slurmctld was away may be answered after that: clients try for ten seconds, and the host may be slow."""


@pytest.fixture(scope="module")
def said(whole_run: WholeRun, finished_run: Path) -> str:
    """What the driver has said in the end."""
    return whole_run.end()


def test_only_the_outage_cost_jobs_an_attempt(said: str, whole_run: WholeRun) -> None:
    """A job that starts while slurmctld is away fails, for its srun cannot ask whether it may: its stage has not begun."""
    assert "will not be restarted" not in said and "(100%) done" in said
    assert whole_run.outage
    began, ended = whole_run.outage
    stages = {record["SLURM_JOB_ID"] for record in witnessed(whole_run.cluster)}
    for job in re.findall(r"SLURM-job '(\d+)' failed", said):
        (log,) = whole_run.checkout.joinpath("logs", "slurm").rglob(f"{job}.log")
        told = "\n".join([log.read_text(), str(whole_run.drained), whole_run.cluster.complaints()])
        assert re.search(r"^srun: (error|fatal)", log.read_text(), flags=re.MULTILINE), told
        assert job not in stages, told
        assert began <= log.stat().st_mtime <= ended + GRACE_SECONDS, told


def test_a_second_run_has_nothing_to_do(said: str, whole_run: WholeRun) -> None:
    assert "Nothing to be done" not in said
    assert "Nothing to be done" in Driver(whole_run.cluster, whole_run.checkout, "all", *IN_PART).wait(seconds=120)


def test_jobs_on_a_gpu_got_one_from_slurm_and_the_others_none(said: str, whole_run: WholeRun) -> None:
    records = witnessed(whole_run.cluster)
    assert {record["script"] for record in records} > {f"{rule}.py" for rule in GPU_RULES}
    for record in records:
        visible = record["CUDA_VISIBLE_DEVICES"]
        if record["script"].removesuffix(".py") in GPU_RULES:
            assert visible and re.fullmatch(r"\d+", visible), record
        else:
            assert not visible, record


def test_no_job_outlived_its_end_and_had_its_node_drained(said: str, whole_run: WholeRun) -> None:
    assert "Kill task failed" not in str(whole_run.drained)


def test_no_more_gpu_jobs_ran_at_once_than_there_are_gpus(said: str, whole_run: WholeRun) -> None:
    jobs = whole_run.gpu_jobs()
    assert {node for *_, node in jobs} == set(whole_run.cluster.nodes), jobs
    at_once = [sum(other_began <= began < other_ended for other_began, other_ended, _ in jobs) for began, *_ in jobs]
    assert max(at_once) <= whole_run.cluster.gpus, jobs
