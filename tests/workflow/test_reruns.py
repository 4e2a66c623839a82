"""What an edit re-runs: the stages that depend on it and what follows them, and nothing else."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from wandb_files import offline_runs

TINY = ("--configfile=config/tiny.yaml",)
ENV = "xland-doorkey-5x5-full"
TABLES_AND_PLOTS = ("Summary ", "Plot of returns", "Plot of methods", "Film of")


def edit_configuration(checkout: Path, edit: Callable[[dict], None]) -> None:
    """Edits a copy without YAML's aliases, in which one place's settings are not another's too."""
    path = checkout / "config/tiny.yaml"
    content = json.loads(json.dumps(yaml.safe_load(path.read_text())))
    edit(content)
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def edit_code(checkout: Path, module: str) -> None:
    """A statement more, which changes no result."""
    with checkout.joinpath("src/lamflow", module).open("a") as opened:
        opened.write("\n_EDITED = True\n")


def stages(jobs: list[str], *but: str) -> list[str]:
    """The jobs other than those that start with one of ``but``."""
    return [job for job in jobs if not job.startswith(but)]


@pytest.mark.slow
def test_a_decoders_learning_rate_reruns_decoders_rollouts_summaries_and_plots(
    finished: Path, planned: Callable
) -> None:
    edit_configuration(finished, lambda c: c["methods"]["lapo"]["decoder"]["training"].update(learning_rate=0.002))
    jobs = planned(finished, *TINY)
    assert jobs
    rest = stages(jobs, "Action decoders of lapo on", "Rollouts of lapo on", *TABLES_AND_PLOTS)
    assert rest == []
    assert not any("latent action models" in job for job in jobs)
    assert sum(job.startswith("Action decoders of") for job in jobs) == 4


@pytest.mark.slow
def test_another_number_of_label_draws_leaves_latent_policies_alone(finished: Path, planned: Callable) -> None:
    edit_configuration(finished, lambda c: c.update(label_draws=3))
    jobs = planned(finished, *TINY)
    policies = {job.split()[2] for job in jobs if job.startswith("Policy of")}
    assert policies == {"bc", "vpt"}
    assert not any(job.startswith(("Episodes", "Demonstrator", "Latent action")) for job in jobs)


@pytest.mark.slow
def test_more_test_episodes_leave_training_alone(finished: Path, planned: Callable) -> None:
    edit_configuration(finished, lambda c: c["collection"].update(test_episodes=9))
    jobs = planned(finished, *TINY)
    assert {job for job in jobs if job.startswith("Episodes")} == {
        f"Episodes of {env}, test split" for env in (ENV, "xland-r1-9x9")
    }
    assert not any(job.startswith(("Latent action", "Action decoders", "Policy", "Demonstrator")) for job in jobs)


@pytest.mark.slow
def test_logging_and_another_environment_rerun_nothing_but_summaries_and_plots_of_all(
    finished: Path, planned: Callable
) -> None:
    edit_configuration(
        finished, lambda c: (c.update(logging={"wandb": True}), c["envs"].append("xland-doorkey-6x6-full"))
    )
    jobs = planned(finished, *TINY)
    assert any("xland-doorkey-6x6-full" in job for job in jobs)
    old = [job for job in jobs if ENV in job or "xland-r1-9x9" in job]
    assert old == []


@pytest.mark.slow
def test_another_rule_for_verdicts_reruns_their_table_alone(finished: Path, planned: Callable) -> None:
    edit_code(finished, "lam/verdicts.py")
    assert planned(finished, *TINY) == ["Summary of the latent action models"]


@pytest.mark.slow
def test_tracking_that_is_switched_on_over_finished_results_only_sends_tables_and_figures(
    finished: Path, planned: Callable, snakemake: Callable
) -> None:
    edit_configuration(finished, lambda c: c.update(logging={"wandb": True}))
    assert planned(finished, *TINY) == ["Tables and figures of tiny to Weights & Biases"]
    result = snakemake(finished, *TINY)
    assert result.returncode == 0, result.stdout[-3000:]
    answer = json.loads((finished / "results/tiny/wandb/experiment.json").read_text())
    assert answer["error"] is None and {"summary/returns", "plots/label_curve_mean"} <= set(answer["sent"])
    (run,) = offline_runs(finished / "results/tiny")
    assert run.run.run_id == answer["run"] and run.config["command"].startswith("snakemake ")
    assert {"experts/xland-doorkey-5x5-full", "lam/xland-r1-9x9/lapo/seed1"} <= set(answer["trainings_without_curves"])
    assert "experts/xland-r1-9x9" not in answer["trainings_without_curves"]
    assert planned(finished, *TINY) == []


@pytest.mark.slow
def test_a_comment_reruns_nothing(finished: Path, planned: Callable) -> None:
    for path in finished.joinpath("src/lamflow").rglob("*.py"):
        if path.read_text():
            path.write_text(f"# A remark.\n{path.read_text()}\n# Another one.\n")
    assert planned(finished, *TINY) == []


@pytest.mark.slow
def test_the_forward_models_code_reruns_the_lam_and_what_follows_it(finished: Path, planned: Callable) -> None:
    edit_code(finished, "networks/grid_dynamics.py")
    jobs = planned(finished, *TINY)
    assert sum(job.startswith("Latent action model ") for job in jobs) == 6
    assert any(job.startswith("Latent actions by") for job in jobs)
    latent = {"lapo", "lapo_codes", "lapo_online"}
    assert {job.split()[2] for job in jobs if job.startswith(("Policy of", "Rollouts of"))} == latent
    assert not any(job.startswith(("Demonstrator", "Episodes")) for job in jobs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "first", "spared"),
    [
        ("rl/ppo.py", "Demonstrator of", ()),
        (
            "evaluation/rollouts.py",
            "Rollouts of",
            ("Demonstrator", "Episodes", "Latent action", "Action decoders", "Policy"),
        ),
        (
            "plots/label_curve.py",
            "Plot of returns",
            ("Demonstrator", "Episodes", "Latent", "Action", "Policy", "Rollouts", "Summary", "Film"),
        ),
    ],
)
def test_an_edit_reruns_its_stage_and_spares_those_before_it(
    module: str, first: str, spared: tuple[str, ...], finished: Path, planned: Callable
) -> None:
    edit_code(finished, module)
    jobs = planned(finished, *TINY)
    assert any(job.startswith(first) for job in jobs)
    assert not spared or not any(job.startswith(spared) for job in jobs)


@pytest.mark.slow
def test_a_policys_head_spares_demonstrators_episodes_and_latent_action_models(
    finished: Path, planned: Callable
) -> None:
    edit_code(finished, "policies/latent_heads.py")
    jobs = planned(finished, *TINY)
    assert any(job.startswith("Policy of") for job in jobs)
    assert not any(job.startswith(("Demonstrator", "Episodes", "Latent")) for job in jobs)


@pytest.mark.slow
def test_other_families_of_environments_rerun_nothing(finished: Path, planned: Callable) -> None:
    """One that is new, and one that the experiment does not play."""
    for part in ("envs/{}_family.py", "envs/{}_presets.py", "rl/{}_demonstrator.py"):
        code = finished.joinpath("src/lamflow", part.format("xland")).read_text()
        finished.joinpath("src/lamflow", part.format("robots")).write_text(code)
        edit_code(finished, part.format("procgen"))
    edit_code(finished, "envs/procgen.py")
    assert planned(finished, *TINY) == []


@pytest.mark.slow
def test_fields_of_settings_and_modules_that_say_so_are_in_no_digest(finished: Path, planned: Callable) -> None:
    for module in (
        "settings.py",
        "networks/settings.py",
        "experiment/experiment.py",
        "envs/presets.py",
        "envs/xland_presets.py",
        "provenance.py",
        "training/tracking.py",
    ):
        edit_code(finished, module)
    path = finished / "src/lamflow/training/settings.py"
    text = path.read_text()
    assert "Optimiser steps." in text
    others = "\n\nclass OtherSettings(Settings):\n    new: int = 1\n"
    path.write_text(text.replace("Optimiser steps.", "Steps of the optimiser.") + others)
    assert planned(finished, *TINY) == []


@pytest.mark.slow
def test_a_changed_fact_of_an_environment_reruns_what_it_has(finished: Path, planned: Callable) -> None:
    path = finished / "src/lamflow/envs/xland_presets.py"
    text = path.read_text()
    assert "turn right" in text
    path.write_text(text.replace("turn right", "turn to the right"))
    assert any(job.startswith("Demonstrator") for job in planned(finished, *TINY))


@pytest.mark.slow
def test_a_formula_of_settings_reruns_what_uses_it(finished: Path, planned: Callable) -> None:
    path = finished / "src/lamflow/quantizers/vq_ema_settings.py"
    text = path.read_text()
    formula = "self.codebooks * self.tokens * self.code_dim"
    assert formula in text
    path.write_text(text.replace(formula, "self.code_dim * self.tokens * self.codebooks"))
    jobs = planned(finished, *TINY)
    assert sum(job.startswith("Latent action model ") for job in jobs) == 6
    assert not any(job.startswith(("Demonstrator", "Episodes", "Policy of bc")) for job in jobs)


@pytest.mark.slow
def test_a_quantizer_that_no_lam_has_reruns_nothing(finished: Path, planned: Callable) -> None:
    """Edited, and added."""
    edit_code(finished, "quantizers/none.py")
    edit_code(finished, "quantizers/none_settings.py")
    for part in ("none.py", "none_settings.py"):
        text = finished.joinpath("src/lamflow/quantizers", part).read_text()
        other = text.replace('"none"', '"other"').replace("none", "other")
        finished.joinpath("src/lamflow/quantizers", part.replace("none", "other")).write_text(other)
    assert planned(finished, *TINY) == []
    edit_code(finished, "quantizers/vq_ema.py")
    jobs = planned(finished, *TINY)
    assert sum(job.startswith("Latent action model ") for job in jobs) == 6
    assert not any(job.startswith(("Demonstrator", "Episodes", "Policy of bc")) for job in jobs)
