"""What Snakemake plans for a configuration, and what it says to a wrong one."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from lamflow.experiment.reading import read_experiment

CONFIG = Path(__file__).parents[2] / "config"
CONFIGURATIONS = sorted(path.name for path in CONFIG.glob("*.yaml") if path.name not in {"datasets.yaml", "rates.yaml"})
TINY = ("--configfile=config/tiny.yaml",)
TARGETS = {"paper.yaml": ("--profile=slurm", "all")}
"""As `test_resources` and `test_paper` ask for them: a plan that long is made once."""

Plan = Callable[..., list[str]]


def count(jobs: list[str], start: str) -> int:
    return sum(job.startswith(start) for job in jobs)


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_configuration_plans_each_stage_once_for_what_it_names(name: str, planned_afresh: Plan) -> None:
    experiment = read_experiment(CONFIG / name)
    jobs = planned_afresh(f"--configfile=config/{name}", *TARGETS.get(name, ()))
    seeds = len(experiment.seeds)
    kinds = Counter(experiment.methods[method].kind for env in experiment.envs for method in experiment.methods_of(env))
    imported = [
        env
        for env in experiment.envs
        if experiment.environment(env).family == "procgen" and experiment.collection.source != "expert"
    ]
    splits = 2 if set(kinds) == {"random"} else 3
    assert count(jobs, "Demonstrator of") == len(experiment.envs) - len(imported)
    assert count(jobs, "Episodes of") == splits * len(experiment.envs)
    assert count(jobs, "LAPO's data:") == len(imported)
    assert count(jobs, "Latent action model ") == seeds * sum(len(experiment.lams_of(env)) for env in experiment.envs)
    assert count(jobs, "Action decoders of") == seeds * (kinds["latent"] + kinds["vpt"])
    assert count(jobs, "Policy of") == seeds * (kinds.total() - kinds["random"] - kinds["online"])
    assert count(jobs, "Online training of") == seeds * kinds["online"]
    assert count(jobs, "Rollouts of") == seeds * kinds.total()
    assert len(jobs) == len(set(jobs))


@pytest.mark.slow
def test_the_default_configuration_is_the_quickstart(planned_afresh: Plan) -> None:
    assert sorted(planned_afresh()) == sorted(planned_afresh("--configfile=config/config.yaml"))


@pytest.mark.slow
def test_a_configuration_file_replaces_the_default_one(checkout: Path, planned: Plan) -> None:
    checkout.joinpath("config", "only_random.yaml").write_text(
        "experiment: floor\nenvs: [xland-fourrooms]\nseeds: [4]\nmethods: {nothing: {kind: random}}\n"
    )
    jobs = planned(checkout, "--configfile", "config/only_random.yaml")
    assert count(jobs, "Rollouts of") == count(jobs, "Rollouts of nothing on xland-fourrooms, seed 4") == 1
    assert not count(jobs, "Policy of") and not count(jobs, "Latent action model ")


@pytest.mark.slow
def test_values_on_the_command_line_are_typed_like_those_of_a_file(checkout: Path, planned: Plan) -> None:
    jobs = planned(checkout, *TINY, "--config", "seeds=[5]", "label_draws=1", "labels=[8, 2 trajectories]")
    assert count(jobs, "Rollouts of lapo on xland-doorkey-5x5-full, seed 5") == 1
    assert not any("seed 0" in job for job in jobs)


@pytest.mark.slow
def test_a_trial_does_not_touch_the_results_of_its_experiment(
    checkout: Path, planned: Plan, snakemake: Callable
) -> None:
    trial = (*TINY, "--config", "trial={steps: 5}", "--")
    assert "Summary over all agents" in planned(checkout, *trial, "results/tiny-trial/summary/returns.csv")
    refused = snakemake(checkout, "--dry-run", *trial, "results/tiny/summary/returns.csv")
    assert refused.returncode != 0 and "No rule to produce results/tiny/summary/returns.csv" in refused.stdout


@pytest.mark.slow
def test_the_default_configuration_is_found_beside_the_snakefile(
    checkout: Path, tmp_path: Path, snakemake: Callable
) -> None:
    result = snakemake(
        checkout,
        "--dry-run",
        "--quiet",
        "--directory",
        str(tmp_path / "elsewhere"),
        "results/quickstart/summary/returns.csv",
    )
    assert result.returncode == 0, result.stdout[-3000:]


@pytest.mark.slow
def test_methods_stand_side_by_side_at_a_budget_that_a_supervised_lam_leaves_to_all(
    checkout: Path, planned: Plan
) -> None:
    path = checkout / "config/tiny.yaml"
    path.write_text(path.read_text().replace("{ labels: 8,", "{ labels: 17,"))
    jobs = planned(checkout, *TINY, "--config", "labels=[16, 32, 48]")
    assert count(jobs, "Plot of methods at 32 labels") == 1


@pytest.mark.slow
def test_a_per_seed_target_plans_that_environment_and_seed_only(planned_afresh: Plan) -> None:
    jobs = planned_afresh(*TINY, "results/tiny/summary/xland-r1-9x9/seed1.csv")
    assert count(jobs, "Rollouts of") == 2
    assert not any("doorkey" in job or "seed 0" in job for job in jobs)


@pytest.mark.slow
def test_a_per_environment_target_plans_all_its_seeds(planned_afresh: Plan) -> None:
    jobs = planned_afresh(*TINY, "results/tiny/summary/xland-r1-9x9.csv")
    assert count(jobs, "Rollouts of") == 4
    assert not any("doorkey" in job for job in jobs)


@pytest.mark.slow
@pytest.mark.parametrize(
    "target",
    [
        "results/tiny/summary/xland-nowhere.csv",
        "results/tiny/summary/xland-r1-9x9/seed7.csv",
        "results/tiny/policies/xland-r1-9x9/lapoo/seed0/policy.safetensors",
        "results/tiny/policies/xland-r1-9x9/random/seed0/policy.safetensors",
        "results/quickstart/summary/returns.csv",
    ],
)
def test_a_target_that_the_configuration_does_not_name_is_refused(
    target: str, checkout: Path, snakemake: Callable
) -> None:
    result = snakemake(checkout, "--dry-run", *TINY, target)
    assert result.returncode != 0
    assert f"No rule to produce {target}" in result.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "sedes=[0]",
            "config/tiny.yaml: 1 problem(s)\n  sedes: unknown key; known here: experiment, environments, envs",
        ),
        ("seeds=[0,one]", "seeds: seed 'one' is no non-negative integer"),
        ("envs=[xland-dorkey-5x5]", "envs: unknown environment 'xland-dorkey-5x5'; known: procgen-bigfish,"),
        (
            "labels=[25 trajectories]",
            "labels: 25 trajectories exceeds the train split of xland-doorkey-5x5-full: 24 episodes",
        ),
        ("methods={lapo: {kind: latent, lam: laop}}", "methods.lapo.lam: unknown LAM 'laop'; known: lapo, single_code"),
    ],
)
def test_a_wrong_configuration_stops_before_any_job_is_planned(
    change: str, message: str, checkout: Path, snakemake: Callable
) -> None:
    result = snakemake(checkout, *TINY, "--config", change)
    assert result.returncode != 0
    assert message in result.stdout
    assert "Traceback" not in result.stdout and "Building DAG" not in result.stdout
    assert not checkout.joinpath("results").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("addition", "message"),
    [
        ("seeds: [3]", "seeds: given twice, in lines "),
        ("on: {kind: bc}", "on: YAML reads the key `on` as true, and keys are text: quote it"),
    ],
)
def test_what_snakemake_reads_of_a_file_without_a_word_is_refused(
    checkout: Path, snakemake: Callable, addition: str, message: str
) -> None:
    path = checkout / "config" / "tiny.yaml"
    path.write_text(f"{path.read_text('utf-8')}\n{addition}\n", "utf-8")
    result = snakemake(checkout, "--configfile", "config/tiny.yaml", "--dry-run")
    assert result.returncode != 0 and message in result.stdout


def test_no_two_configurations_share_a_folder_of_results() -> None:
    experiments = [read_experiment(CONFIG / name).experiment for name in CONFIGURATIONS]
    assert len(experiments) == len(set(experiments))


@pytest.mark.slow
def test_decoders_that_see_the_observation_are_trained_after_their_policy(checkout: Path, planned: Plan) -> None:
    edit = "methods={seeing: {kind: latent, lam: lapo, target: flow, decoder: {observation: true}}}"
    target = "results/tiny/decoders/xland-r1-9x9/{}/seed0/decoders.safetensors"
    jobs = planned(checkout, *TINY, target.format("seeing"), "--config", edit)
    assert count(jobs, "Action decoders of seeing") == count(jobs, "Policy of seeing") == 1
    plain = planned(checkout, *TINY, target.format("lapo"))
    assert count(plain, "Action decoders of lapo") == 1 and not count(plain, "Policy of")
