"""`make quickstart`, stopped in every way in which people stop a run: the same command goes on, and ends where an undisturbed run ends."""

import os
import shutil
import signal
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch
import yaml
from safetensors.torch import load_file

ROOT = Path(__file__).parents[2]
TINY = ("--configfile=config/tiny.yaml",)
RUN = "xland-r1-9x9/lapo/seed0"
TARGET = f"results/tiny/lam/{RUN}/model.safetensors"
STATE = f"results/tiny/state/lam/{RUN}"
MAKE = ["make", "quickstart"]


def tell_the_group(make: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """What a terminal does on Ctrl-C."""
    os.killpg(make.pid, number)


def tell_the_driver(make: subprocess.Popen[bytes], number: signal.Signals) -> None:
    below = psutil.Process(make.pid).children(recursive=True)
    driver = next(process for process in below if process.cmdline()[1:3] == ["-m", "snakemake"])
    driver.send_signal(number)


WAYS = (
    (tell_the_group, signal.SIGINT),
    (tell_the_driver, signal.SIGINT),
    (tell_the_driver, signal.SIGTERM),
    (tell_the_driver, signal.SIGUSR1),
    (tell_the_driver, signal.SIGKILL),
)


def prepare(checkout: Path) -> None:
    """The tiny experiment as this checkout's quickstart, its first training longer, in an environment that counts as installed."""
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy2(ROOT / name, checkout / name)
    content = yaml.safe_load(checkout.joinpath("config/tiny.yaml").read_text())
    content["lams"]["lapo"]["training"] = content["lams"]["lapo"]["training"] | {"steps": 1000, "checkpoint_every": 10}
    checkout.joinpath("config/config.yaml").write_text(yaml.safe_dump(content))
    shutil.rmtree(checkout / STATE)
    python = checkout / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@" -- {TARGET}\n')
    python.chmod(0o755)
    checkout.joinpath(".venv/.installed").touch()


def start(checkout: Path, output: Path) -> subprocess.Popen[bytes]:
    with output.open("ab") as opened:
        return subprocess.Popen(
            MAKE,
            cwd=checkout,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            stdout=opened,
            stderr=opened,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests in the background ignore it
        )


def newest_checkpoint(checkout: Path) -> int:
    return max((int(path.stem.split("-")[1]) for path in checkout.joinpath(STATE).glob("checkpoint-*.pt")), default=0)


def wait_for_a_checkpoint(checkout: Path, make: subprocess.Popen[bytes], *, after: int, seconds: float = 1500) -> None:
    deadline = time.monotonic() + seconds
    while newest_checkpoint(checkout) <= after:
        assert make.poll() is None, "make ended before there was a new checkpoint"
        assert time.monotonic() < deadline, "no new checkpoint came"
        time.sleep(0.01)


@pytest.fixture
def two_checkouts(tiny_run: Path, tmp_path: Path) -> tuple[Path, Path]:
    for name in ("straight", "stopped"):
        shutil.copytree(tiny_run, tmp_path / name, symlinks=True)
        prepare(tmp_path / name)
    return tmp_path / "straight", tmp_path / "stopped"


@pytest.mark.whole
def test_a_quickstart_goes_on_with_the_same_command_however_it_was_stopped(two_checkouts: tuple[Path, Path]) -> None:
    straight, stopped = two_checkouts
    said = stopped / "said"
    assert start(straight, straight / "said").wait(timeout=3000) == 0, straight.joinpath("said").read_text()[-3000:]

    reached = 0
    for tell, number in WAYS:
        make = start(stopped, said)
        wait_for_a_checkpoint(stopped, make, after=reached)
        tell(make, number)
        assert make.wait(timeout=600) != 0
        assert not stopped.joinpath(TARGET).exists(), f"{number.name}: the training was over"
        reached = newest_checkpoint(stopped)
    assert start(stopped, said).wait(timeout=3000) == 0, said.read_text()[-3000:]

    story = said.read_text()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        assert f"{number.name}: the running stages are asked to end" in story
    assert "1 processes of an earlier run, whose driver was killed, are still there." in story
    assert "resumed from step" in stopped.joinpath("results/tiny/logs/train_lam", f"{RUN}.log").read_text()
    found, wanted = (load_file(checkout / TARGET) for checkout in (stopped, straight))
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.slow
def test_what_a_kill_left_incomplete_is_planned_again(finished: Path, planned: Callable[..., list[str]]) -> None:
    table = "results/tiny/summary/xland-r1-9x9/seed0.csv"
    marks = finished / ".snakemake/incomplete"
    marks.mkdir(exist_ok=True)
    marks.joinpath(urlsafe_b64encode(table.encode()).decode()).write_text('{"external_jobid": null}')
    assert planned(finished, *TINY, table) == ["Summary of xland-r1-9x9, seed 0"]
    assert planned(finished, *TINY, "results/tiny/evaluation/xland-r1-9x9/lapo/seed0/returns.csv") == []


@pytest.mark.slow
def test_a_stale_lock_is_no_obstacle(
    finished: Path, snakemake: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    table = "results/tiny/summary/xland-r1-9x9/seed0.csv"
    finished.joinpath(table).unlink()
    locks = finished / ".snakemake/locks"
    locks.mkdir(exist_ok=True)
    locks.joinpath("0.output.lock").write_text(f"{table}\n")
    result = snakemake(finished, *TINY, "--", table)
    assert result.returncode == 0, result.stdout[-3000:]
