"""The table of a dry run: what it adds up, and that it says where its rates come from."""

from dataclasses import replace
from pathlib import Path

import pytest

from lamflow.experiment.reading import read_experiment
from lamflow.runs.costs import expected_seconds
from lamflow.runs.estimate import PlannedJob, costs_by_rule, estimate_table
from lamflow.runs.rates import read_rates
from lamflow.runs.scope import Scope

CONFIG = Path(__file__).parents[2] / "config"
ROWS = {"train": 80 * 32768, "validation": 32768, "test": 32768}


@pytest.fixture(scope="module")
def paper() -> Scope:
    experiment = read_experiment(CONFIG / "paper.yaml")
    return Scope(experiment, read_rates(CONFIG / "rates.yaml"), dict.fromkeys(experiment.envs, ROWS))


def lam_job(seed: int, *, gpus: int = 1, cores: int = 2, mem_mb: int = 9000) -> PlannedJob:
    wildcards = {"env": "procgen-coinrun", "lam": "lapo", "seed": str(seed)}
    return PlannedJob("train_lam", wildcards, gpus=gpus, cores=cores, mem_mb=mem_mb, device="gpu" if gpus else "cpu")


def test_jobs_of_a_rule_add_up(paper: Scope) -> None:
    jobs = [lam_job(0), lam_job(1), lam_job(2, mem_mb=12000)]
    cost = costs_by_rule(paper, jobs)["train_lam"]
    hours = expected_seconds(paper, "train_lam", jobs[0].wildcards, device="gpu", processors=1) / 3600
    assert (cost.jobs, cost.gpus, cost.mem_mb) == (3, 1, 12000)
    assert cost.gpu_hours == pytest.approx(3 * hours) == pytest.approx(3.03, abs=0.05)
    assert cost.core_hours == pytest.approx(6 * hours)
    assert cost.disk_gb == pytest.approx(3 * 4 * 11_499_515 / 1e9)


def test_two_gpus_take_half_as_long_and_as_many_gpu_hours(paper: Scope) -> None:
    one, two = (costs_by_rule(paper, [lam_job(0, gpus=gpus)])["train_lam"] for gpus in (1, 2))
    assert two.gpus == 2
    assert two.gpu_hours == pytest.approx(one.gpu_hours, rel=0.01)
    assert two.core_hours == pytest.approx(one.core_hours / 2, rel=0.01)


def test_on_a_cpu_there_are_no_gpu_hours_and_more_core_hours(paper: Scope) -> None:
    cpu = costs_by_rule(paper, [lam_job(0, gpus=0, cores=1)])["train_lam"]
    assert cpu.gpus == cpu.gpu_hours == 0
    assert cpu.core_hours == pytest.approx(50_000 * 128 / 49.6 / 3600, rel=0.01)


def test_the_table_has_a_total_and_says_where_the_rates_of_its_devices_come_from(paper: Scope) -> None:
    summary = PlannedJob("summarise", {}, gpus=0, cores=1, mem_mb=1000, device="cpu")
    table = estimate_table(paper, [summary, lam_job(0), lam_job(1)])
    lines = table.splitlines()
    assert [line.split()[0] for line in lines[3:6]] == ["train_lam", "summarise", "total"]
    assert lines[5].split()[:3] == ["total", "3", "1"]
    assert lines[6] == f"GPU rates: {paper.rates.origin['gpu']}"
    assert lines[7] == f"CPU rates: {paper.rates.origin['cpu']}"
    assert len({len(line) for line in lines[1:6]}) == 1


def test_rates_of_a_device_that_no_job_has_are_not_named(paper: Scope) -> None:
    assert "GPU rates" not in estimate_table(paper, [lam_job(0, gpus=0)])


def test_the_table_says_which_rates_stand_for_those_that_were_never_measured(paper: Scope) -> None:
    without = {kind: rates for kind, rates in paper.rates.work.items() if kind != "lam_training"}
    given = replace(paper, rates=paper.rates.model_copy(update={"work": without}))
    table = estimate_table(given, [lam_job(0)])
    assert table.endswith("\nnot measured: lam_training over pixels; its rates are those of cloning over pixels")
    assert "not measured" not in estimate_table(paper, [lam_job(0)])
