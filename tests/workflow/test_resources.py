"""What the rules ask for in Snakemake's own plan, and the estimate that a dry run ends with."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from plans import without_messages

GPU_RULES = {
    "train_pixel_expert",
    "train_lam",
    "relabel_episodes",
    "train_action_decoders",
    "train_policy",
    "train_evaluated_policy",
    "finetune_online",
    "evaluate_agents",
}
TINY = ("--configfile=config/tiny.yaml",)
PAPER = ("--configfile=config/paper.yaml",)
PROFILE = ("--profile=slurm",)
ROOT = Path(__file__).parents[2]

Run = Callable[..., subprocess.CompletedProcess[str]]


Said = Callable[..., str]


def dry_run(run: Run, checkout: Path, *arguments: str) -> str:
    result = run(checkout, "--dry-run", *arguments)
    assert result.returncode == 0, result.stdout[-3000:]
    return result.stdout


def resources_in(said: str) -> dict[str, list[dict[str, str]]]:
    """The resources of each job, by rule, in a plan of rules without messages."""
    found: dict[str, list[dict[str, str]]] = {}
    for block in re.split(r"\n(?=(?:local)?rule \w+:)", said)[1:]:
        rule = re.match(r"(?:local)?rule (\w+):", block)
        line = re.search(r"^    resources: (.*)$", block, flags=re.MULTILINE)
        assert rule
        entries = dict(entry.split("=", 1) for entry in line[1].split(", ")) if line else {}
        found.setdefault(rule[1], []).append(entries)
    return found


@pytest.fixture(scope="session")
def resources_of(said_of_plan: Said) -> Callable[..., dict[str, list[dict[str, str]]]]:
    """The resources of each planned job of a fresh checkout, by rule."""
    return lambda *arguments: resources_in(said_of_plan(*arguments, messages=False))


Resources = Callable[..., dict[str, list[dict[str, str]]]]


def total(output: str) -> list[str]:
    """The last line of the estimate: jobs, GPUs a job, GPU hours, core hours, largest MB, disk GB."""
    return re.findall(r"^total +(.+)$", output.split("Estimate of the planned jobs:")[1], flags=re.MULTILINE)[0].split()


@pytest.mark.slow
def test_gpu_rules_ask_for_exactly_one_gpu_and_other_rules_for_none(resources_of: Resources) -> None:
    pixels = resources_of("experts", "--configfile=config/procgen_experts.yaml")
    curve = "results/tiny/policies/xland-r1-9x9/bc/seed0/curve.csv"
    watched = resources_of(*TINY, curve, "--config", "evaluation={during_training: 1}")
    planned = watched | resources_of(*TINY) | pixels
    assert set(planned) >= GPU_RULES | {"train_expert", "collect_episodes", "summarise", "plot_latent_space"}
    for rule in set(planned) - {"all", "experts"}:
        assert {job.get("gpu") for job in planned[rule]} == {"1" if rule in GPU_RULES else None}, rule
        assert all("mem_mb" in job and "runtime" in job for job in planned[rule]), rule


@pytest.mark.slow
def test_a_training_on_two_gpus_asks_for_two(checkout: Path, snakemake: Run) -> None:
    path = checkout / "config" / "tiny.yaml"
    content = json.loads(json.dumps(yaml.safe_load(path.read_text())))
    content["lams"]["lapo"]["training"]["devices"] = 2
    path.write_text(yaml.safe_dump(content))
    without_messages(checkout)
    jobs = resources_in(dry_run(snakemake, checkout, *TINY, *PROFILE))["train_lam"]
    assert sorted(job["gpu"] for job in jobs) == ["1"] * 2 + ["2"] * 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("configuration", "rule"),
    [
        ("tiny", "train_expert"),
        ("procgen_laptop", "train_expert"),
        ("procgen_experts", "train_pixel_expert"),
    ],
)
def test_only_procgens_trained_experts_are_jobs_of_a_gpu(
    configuration: str, rule: str, resources_of: Resources
) -> None:
    planned = resources_of(f"--configfile=config/{configuration}.yaml")
    assert {name for name in planned if "expert" in name and name.startswith("train")} == {rule}


@pytest.mark.slow
def test_a_dry_run_of_the_paper_for_a_cluster_ends_with_its_cost(said_of_plan: Said) -> None:
    output = said_of_plan(*PAPER, *PROFILE, "all")
    jobs, gpus, gpu_hours, core_hours, megabytes, disk = (float(cell.replace(",", "")) for cell in total(output))
    assert (jobs, gpus) == (1818, 1)
    lams_and_latent_policies = 2 * 16 * 5  # an hour each, as LAPO says
    assert lams_and_latent_policies < gpu_hours < core_hours < 100 * gpu_hours
    assert gpu_hours < 3000
    assert 4 * 1024 < megabytes < 32 * 1024
    assert 100 < disk < 5000
    assert "LAPO's published hour" in output
    assert re.search(r"^train_lam +80 +1 +8\d ", output, flags=re.MULTILINE)


@pytest.mark.slow
def test_a_cluster_without_gpus_is_planned_at_the_rates_of_cores(said_of_plan: Said) -> None:
    none = [f"{rule}:gpu=0" for rule in sorted(GPU_RULES)]
    output = said_of_plan("--quiet=rules", *TINY, *PROFILE, "--set-resources", *none, "--", "all")
    assert total(output)[1:3] == ["0", "0"]
    assert "GPU rates" not in output


@pytest.mark.slow
def test_the_other_form_of_asking_for_gpus_is_understood(said_of_plan: Said) -> None:
    gres = ("train_lam:gpu=0", "train_lam:gres='gpu:a100:2'")
    output = said_of_plan("--quiet=rules", *TINY, *PROFILE, "--set-resources", *gres, "--", "all")
    assert re.search(r"^train_lam +6 +2 ", output, flags=re.MULTILINE)


@pytest.mark.slow
def test_nothing_is_estimated_where_nothing_is_to_be_done_or_said(
    tiny_run: Path, checkout: Path, snakemake: Run
) -> None:
    assert "Estimate" not in dry_run(snakemake, tiny_run, *TINY)
    assert "Estimate" not in dry_run(snakemake, checkout, *TINY, "--quiet=all")


@pytest.mark.slow
def test_a_failed_table_of_rates_stops_the_plan_with_its_key(checkout: Path, snakemake: Run) -> None:
    path = checkout / "config" / "rates.yaml"
    path.write_text(path.read_text().replace("other_start_up: ", "other: "))
    result = snakemake(checkout, "--dry-run", *TINY)
    assert result.returncode != 0
    assert "rates.yaml: 2 problem(s)" in result.stdout and "other_start_up: missing" in result.stdout
    assert "Traceback" not in result.stdout


def profile() -> dict[str, Any]:
    return yaml.safe_load(ROOT.joinpath("slurm", "config.yaml").read_text())


def test_what_the_profile_says_of_one_gpu_rule_it_says_of_all() -> None:
    asked = profile()["set-resources"]
    assert set(asked) == GPU_RULES
    assert all(asked[rule].keys() >= asked["train_lam"].keys() for rule in GPU_RULES)


def test_nothing_of_a_site_stands_in_the_rules() -> None:
    for path in [ROOT / "workflow" / "Snakefile", *ROOT.joinpath("workflow", "rules").glob("*.smk")]:
        assert not re.search(r"(slurm_partition|slurm_account|gpu_model|gres|constraint|qos)=", path.read_text()), path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "asked"),
    [
        (("train_lam:gpu=0", "train_lam:gres=gpu:4090:1"), {"gpu": "0", "gres": "gpu:4090:1"}),
        (("train_lam:gpu_model=a100",), {"gpu": "1", "gpu_model": "a100"}),
    ],
    ids=["gres", "model"],
)
def test_the_form_in_which_gpus_are_asked_for_is_the_profiles(
    change: tuple[str, ...], asked: dict[str, str], resources_of: Resources
) -> None:
    planned = resources_of(*TINY, *PROFILE, "--set-resources", *change, "--", "all")
    assert all(asked.items() <= job.items() for job in planned["train_lam"])
    assert {job["runtime"] for job in planned["train_lam"]} == {"10"}
    assert not any("gres" in job or "gpu_model" in job for job in planned["train_policy"] + planned["summarise"])


@pytest.mark.slow
def test_no_job_asks_for_more_time_than_the_profile_allows(resources_of: Resources) -> None:
    target = "results/paper/policies/procgen-coinrun/vpt/seed0/policy.safetensors"
    (job,) = resources_of(*PAPER, *PROFILE, "--", target)["train_policy"]
    assert int(job["runtime"]) == profile()["default-resources"]["max_runtime"]
