"""A run that is killed in the middle of training ends, when it is run again, where a straight run ends."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch
import yaml
from safetensors.torch import load_file

TINY = ("--configfile=config/tiny.yaml",)
ENV = "xland-doorkey-5x5-full"
RUN = f"{ENV}/lapo/seed0"
FOLDER = Path("results/tiny/lam", RUN)
CHECKPOINT = Path("results/tiny/state/lam", RUN, "checkpoint-0000000025.pt")
TARGET = str(FOLDER / "model.safetensors")


def lengthen(checkout: Path) -> None:
    """Enough steps that the process is surely still training when its first checkpoint is seen."""
    path = checkout / "config/tiny.yaml"
    content = yaml.safe_load(path.read_text())
    content["lams"]["lapo"]["training"] = content["lams"]["lapo"]["training"] | {"steps": 150, "checkpoint_every": 25}
    path.write_text(yaml.safe_dump(content))
    checkout.joinpath(CHECKPOINT).unlink(missing_ok=True)


def kill_at(checkpoint: Path, process: psutil.Popen, *, seconds: float = 120) -> None:
    """kill -9 Snakemake and every process below it as soon as the checkpoint is there."""
    deadline = time.monotonic() + seconds
    while not checkpoint.exists():
        assert process.poll() is None, "Snakemake ended before there was a checkpoint"
        assert time.monotonic() < deadline, "no checkpoint came"
        time.sleep(0.01)
    tree = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    assert len(tree) > 1
    for member in tree:
        member.kill()
    process.wait()


@pytest.fixture
def two_checkouts(tiny_run: Path, tmp_path: Path) -> tuple[Path, Path]:
    for name in ("straight", "killed"):
        shutil.copytree(tiny_run, tmp_path / name, symlinks=True)
        lengthen(tmp_path / name)
    return tmp_path / "straight", tmp_path / "killed"


@pytest.mark.whole
def test_a_killed_and_repeated_run_gives_the_weights_of_a_straight_one(
    two_checkouts: tuple[Path, Path], snakemake: Callable, start_snakemake: Callable
) -> None:
    straight, killed = two_checkouts
    result = snakemake(straight, *TINY, "--", TARGET)
    assert result.returncode == 0, result.stdout[-3000:]

    kill_at(killed / CHECKPOINT, start_snakemake(killed, *TINY, "--", TARGET))
    assert not killed.joinpath(TARGET).exists()
    result = snakemake(killed, *TINY, "--", TARGET)
    assert result.returncode == 0, result.stdout[-3000:]

    assert "resumed from step" in killed.joinpath("results/tiny/logs/train_lam", f"{RUN}.log").read_text()
    found, wanted = (load_file(checkout / TARGET) for checkout in (killed, straight))
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert killed.joinpath(FOLDER, "metrics.csv").read_text() == straight.joinpath(FOLDER, "metrics.csv").read_text()
