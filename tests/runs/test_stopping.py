"""Snakemake itself, stopped in each way that people stop it, while a job trains: what the job keeps, and that the same command goes on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lamflow.runs.events import begin
from lamflow.runs.stopping import note_stopping

pytestmark = [pytest.mark.whole, pytest.mark.usefixtures("signals_are_heard")]

SNAKEFILE = """
import shlex, sys
from pathlib import Path
sys.executable = shlex.quote(sys.executable)
from lamflow.runs.events import begin
from lamflow.runs.stopping import stop_in_order

onstart:
    begin(Path("results"))
    stop_in_order(Path.cwd())

rule train:
    output: "result.txt"
    log: "train.log"
    script: "train.py"
"""
SCRIPT = """
import time
from pathlib import Path
from lamflow.stages.entry import stage_process

def train(output):
    import torch
    from lamflow.training.settings import TrainingSettings
    from lamflow.training.loop import Loss, train
    from lamflow.training.metrics import MetricsLog

    torch.manual_seed(0)
    module, slow = torch.nn.Linear(2, 1), not Path("quick").exists()

    def batch_at(step):
        time.sleep(0.05 * slow)
        return torch.full((1, 2), float(step % 3))

    settings = TrainingSettings(steps=1000, checkpoint_every=5, log_every=1000)
    loss = lambda batch: Loss(module(batch).square().sum())
    train(module=module, batch_at=batch_at, loss=loss, settings=settings, metrics=MetricsLog(), state_dir=Path("state"))
    Path(output).write_text(str(module.weight.tolist()))

train.__module__ = "lamflow.stages.fake"
with stage_process(snakemake) as run:
    run(train, output=snakemake.output[0])
"""


def start(folder: Path) -> subprocess.Popen[bytes]:
    """The driver, which leads a process group as one on a terminal does."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--nocolor"]
    with folder.joinpath("driver.txt").open("ab") as said:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=said, start_new_session=True)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("straight")
    prepare(folder)
    folder.joinpath("quick").touch()
    assert start(folder).wait(timeout=300) == 0
    return folder.joinpath("result.txt").read_text()


def prepare(folder: Path) -> None:
    folder.joinpath("Snakefile").write_text(SNAKEFILE)
    folder.joinpath("train.py").write_text(SCRIPT)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "to_all"),
    [
        (signal.SIGINT, True),
        (signal.SIGINT, False),
        (signal.SIGTERM, False),
        (signal.SIGHUP, True),
        (signal.SIGUSR1, False),
    ],
)
def test_a_stopped_run_keeps_its_last_step_and_the_same_command_goes_on(
    number: signal.Signals, to_all: bool, straight: str, tmp_path: Path
) -> None:
    """``to_all``: as a terminal sends it, to driver, shell and job; else to the driver alone."""
    prepare(tmp_path)
    driver = start(tmp_path)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("state/checkpoint-*.pt")):
        assert driver.poll() is None and time.monotonic() < deadline, tmp_path.joinpath("driver.txt").read_text()
        time.sleep(0.02)
    (os.killpg if to_all else os.kill)(driver.pid, number)
    assert driver.wait(timeout=60) != 0
    assert f"{number.name}: the running stages are asked to end" in tmp_path.joinpath("driver.txt").read_text(
        encoding="utf-8"
    )
    (events,) = tmp_path.glob("results/events/*")
    assert '"stopping"' in events.read_text()
    log = tmp_path.joinpath("train.log").read_text()
    told = re.search(r"SIG\w+ ended the training after step (\d+) of 1000; .*run the same command again", log)
    assert told, log
    assert (tmp_path / f"state/checkpoint-{int(told[1]):010d}.pt").exists() and "Traceback" not in log

    tmp_path.joinpath("quick").touch()
    again = start(tmp_path)
    assert again.wait(timeout=120) == 0, tmp_path.joinpath("driver.txt").read_text()
    assert f"resumed from step {told[1]} of" in tmp_path.joinpath("train.log").read_text()
    assert tmp_path.joinpath("result.txt").read_text() == straight


def test_signals_that_snakemake_answers_itself_are_noted_and_passed_on(tmp_path: Path) -> None:
    before, received = signal.getsignal(signal.SIGTERM), []
    signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        events = begin(tmp_path)
        note_stopping()
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, interrupt)
    assert received == [signal.SIGTERM]
    assert '"stopping"' in events.read_text()
