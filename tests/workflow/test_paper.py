"""LAPO at its own scale: the whole experiment as a plan, and a trial run of every stage of one game with the full networks."""

import csv
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from lamflow.experiment.reading import load_experiment, read_experiment
from lamflow.training.checkpoint import read_model

Run = Callable[..., subprocess.CompletedProcess[str]]

ONE_GAME = ("envs=[procgen-chaser]", "seeds=[0]")
STEPS = 10
TRIAL = ("--configfile=config/paper.yaml", "--config", *ONE_GAME, f"trial={{steps: {STEPS}, episodes: 2}}", "--", "all")


@pytest.mark.slow
def test_the_plan_of_the_whole_experiment_is_a_table_of_jobs(said_of_plan: Callable[..., str]) -> None:
    said = said_of_plan("--configfile=config/paper.yaml", "--profile=slurm", "all")
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", said, flags=re.MULTILINE))
    games, seeds = 16, 5
    expected = {
        "train_lam": games * seeds,
        "relabel_episodes": games * seeds,
        "train_action_decoders": 2 * games * seeds,
        "train_policy": 4 * games * seeds,
        "finetune_online": 3 * games * seeds,
        "evaluate_agents": 8 * games * seeds,
    }
    assert {rule: int(jobs[rule]) for rule in expected} == expected


def test_optimisers_and_codebooks_are_those_of_lapos_code() -> None:
    content = yaml.safe_load(Path(__file__).parents[2].joinpath("config", "paper.yaml").read_text("utf-8"))
    experiment = load_experiment(content)
    lam, policy = experiment.lams["lapo"], experiment.methods["lapo"].policy
    assert (lam.quantizer.ema_counts, lam.quantizer.decay, lam.quantizer.epsilon) == ("lapo", 0.999, 1e-5)
    assert (lam.training.weight_decay, lam.training.clip_norm) == (0.01, 2.0)
    assert (policy.training.weight_decay, policy.training.clip_norm) == (0.01, None)


def test_vpt_has_the_policy_of_the_others_and_one_label_draw_a_seed() -> None:
    """Five draws of it alone would take four fifths of the experiment's GPU hours; steps are what makes policies comparable."""
    experiment = read_experiment(Path(__file__).parents[2] / "config" / "paper.yaml")
    vpt, lapo = experiment.methods["vpt"], experiment.methods["lapo"]
    assert vpt.policy == lapo.policy == experiment.methods["oracle_bc"].policy
    assert experiment.labels_of("vpt") == experiment.labels_of("lapo") == experiment.labels_of("bc")
    assert [experiment.label_draws_of(name) for name in ("vpt", "lapo", "bc")] == [1, 5, 5]


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory, snakemake: Run, copied: Callable[[Path], Path]) -> Path:
    checkout = copied(tmp_path_factory.mktemp("paper") / "checkout")
    run = snakemake(checkout, *TRIAL)
    assert run.returncode == 0, run.stdout
    assert not checkout.joinpath("results", "paper").exists()
    return checkout / "results" / "paper-trial"


@pytest.mark.whole
def test_every_training_stage_runs_its_first_steps_with_the_full_networks(trial: Path) -> None:
    for path in (
        "lam/procgen-chaser/lapo/seed0/metrics.csv",
        *(f"policies/procgen-chaser/{method}/seed0/metrics.csv" for method in ("lapo", "oracle_bc")),
    ):
        with trial.joinpath(path).open() as opened:
            steps = {int(row["step"]) for row in csv.DictReader(opened) if row["split"] == "train"}
        assert max(steps) == STEPS, path
    tensors, _ = read_model(trial / "lam/procgen-chaser/lapo/seed0/model.safetensors")
    size = sum(tensor.numel() for name, tensor in tensors.items() if name.startswith("inverse_dynamics"))
    assert size == 3_685_376


@pytest.mark.whole
def test_a_trial_ends_in_a_table_of_returns(trial: Path) -> None:
    with trial.joinpath("summary", "returns.csv").open() as opened:
        rows = list(csv.DictReader(opened))
    assert {row["method"] for row in rows} == {
        "lapo", "bc", "vpt", "oracle_bc", "lapo_rl_sl", "lapo_rl", "ppo_scratch", "random",
    }  # fmt: skip
    assert {row["labels"] for row in rows if row["method"] == "lapo"} == {"16", "32", "64"}
    assert all(float(row["normalized_return_cobbe"]) < 1 for row in rows)
