"""What the terminal says of the latent action models when a run ends."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lamflow.experiment.reading import read_experiment

TINY = "config/tiny.yaml"
TABLE = "results/tiny/summary/lams.csv"


def write_losses(folder: Path, *, shuffled: float) -> None:
    """Metrics of a training: its loss is 1, that of copying 2."""
    folder.mkdir(parents=True)
    losses = {"loss": 1.0, "loss_shuffled_latent": shuffled, "loss_copy_last_frame": 2.0}
    rows = [f"10,validation,fdm/{name},{value}" for name, value in losses.items()]
    folder.joinpath("metrics.csv").write_text("\n".join(["step,split,name,value", *rows, ""]))


@pytest.mark.slow
def test_a_run_ends_with_the_verdicts_on_its_models(checkout: Path, snakemake: Callable) -> None:
    experiment = read_experiment(checkout / TINY)
    for env in experiment.envs:
        for lam in experiment.lams_of(env):
            for seed in experiment.seeds:
                folder = checkout / "results/tiny/lam" / env / lam / f"seed{seed}"
                write_losses(folder, shuffled=1.0 if seed == 0 else 3.0)
    result = snakemake(checkout, f"--configfile={TINY}", "--rerun-triggers=mtime", "--", TABLE)
    assert result.returncode == 0, result.stdout
    told = result.stdout.split("Latent action models: ", 1)[1].splitlines()
    assert told[0] == "3 latent ignored, 3 healthy."
    assert f"  lapo on {experiment.envs[0]}, seed 0: latent ignored. The next frame" in told[1]
    log = checkout.joinpath("results/tiny/logs/summarise_lams.log").read_text()
    assert "3 latent ignored, 3 healthy." in log
