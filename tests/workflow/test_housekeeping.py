"""What docs/quickstart.md says of copied and deleted results is so."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

TINY = ("--configfile=config/tiny.yaml",)
TABLE = "results/tiny/summary/xland-r1-9x9/seed0.csv"
MODEL = "results/tiny/lam/xland-r1-9x9/lapo/seed0/model.safetensors"


@pytest.mark.slow
def test_a_copy_without_times_is_up_to_date_again_after_a_touch(
    tiny_run: Path,
    tmp_path: Path,
    planned: Callable[..., list[str]],
    snakemake: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_run, copy, symlinks=True, copy_function=shutil.copyfile)
    assert any(job.startswith("Latent action model") for job in planned(copy, *TINY, TABLE))
    assert snakemake(copy, "--touch", *TINY, "--", TABLE).returncode == 0
    assert planned(copy, *TINY, TABLE) == []


@pytest.mark.slow
def test_a_hole_is_named_by_the_summary_and_filled_by_its_name(
    finished: Path, planned: Callable[..., list[str]], snakemake: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    finished.joinpath(MODEL).unlink()
    assert planned(finished, *TINY, TABLE) == []
    summary = snakemake(finished, "--summary", *TINY, "--", TABLE).stdout.splitlines()
    assert [line.split("\t")[0] for line in summary if "missing" in line.split("\t")] == [MODEL]
    assert planned(finished, *TINY, MODEL) == ["Latent action model lapo on xland-r1-9x9, seed 0"]
