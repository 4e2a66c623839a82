"""The training stage under kill -9, signals, full disks and read-only folders: what is left, and what the next attempt makes of it."""

from __future__ import annotations

import multiprocessing
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lamflow.envs.presets import preset
from lamflow.lam import probe
from lamflow.stages.entry import stage_process
from lamflow.stages.train_lam import train_lam
from lamflow.training.checkpoint import read_model
from lamflow.training.interruption import RETRY_EXIT_CODE

pytestmark = [pytest.mark.whole, pytest.mark.usefixtures("signals_are_heard")]

ENV = "xland-empty-random-8x8-full"
NETWORK = {"width": 8, "layers": 2, "hidden_width": 16}
SETTINGS = {
    "inverse_dynamics": NETWORK,
    "forward_dynamics": NETWORK,
    "quantizer": {"codebooks": 1, "tokens": 2, "code_dim": 4, "codes": 8, "revive_below": 0.5},
    "training": {"steps": 400, "batch_size": 16, "log_every": 7, "validate_every": 90, "checkpoint_every": 10},
}
KILLS = 20


def arguments(data: Path, folder: Path) -> dict[str, Any]:
    return {
        "environment": preset(ENV).facts(),
        "lam": "lapo",
        "settings": SETTINGS,
        "logging": {},
        "seed": 0,
        "train": str(data / "train.zarr"),
        "validation": str(data / "validation.zarr"),
        "output": str(folder / "model.safetensors"),
        "metrics": str(folder / "metrics.csv"),
        "state_dir": str(folder / "state"),
    }


def run_job(data: Path, folder: Path) -> None:
    """What Snakemake's job does, in a process of its own."""
    torch.set_num_threads(1)
    probe.PROBE_TRAINING = probe.PROBE_TRAINING.model_copy(update={"steps": 3})
    with stage_process(SimpleNamespace(rule="train_lam", threads=1, log=[str(folder / "train.log")])) as run:
        run(train_lam, **arguments(data, folder))


@pytest.fixture(scope="module")
def data(write_walks: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for number, split in enumerate(("train", "validation")):
        write_walks(folder / f"{split}.zarr", episodes=30, first_level=1000 * number, split=split)
    return folder


@pytest.fixture(scope="module")
def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    process = start(data, folder)
    process.join()
    assert process.exitcode == 0
    return folder


def start(data: Path, folder: Path) -> BaseProcess:
    """A server that has imported everything forks each attempt, so that it starts at once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lamflow.stages.train_lam", "zarr", "zarrs", "torch._dynamo"])
    process = context.Process(target=run_job, args=(data, folder))
    process.start()
    return process


def assert_same_results(folder: Path, undisturbed: Path) -> None:
    found, expected = (read_model(path / "model.safetensors")[0] for path in (folder, undisturbed))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert (folder / "metrics.csv").read_text() == (undisturbed / "metrics.csv").read_text()


def await_start(folder: Path, process: BaseProcess) -> None:
    """Until the job has opened its log, and a first attempt has made the state folder."""
    log, state = folder / "train.log", folder / "state"
    before = log.stat().st_mtime_ns if log.exists() else 0
    while process.is_alive() and not (state.exists() and log.exists() and log.stat().st_mtime_ns > before):
        time.sleep(0.005)


def await_checkpoint(folder: Path, process: BaseProcess) -> None:
    deadline = time.monotonic() + 60
    while not list((folder / "state").glob("checkpoint-*.pt")):
        assert process.is_alive() and time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.slow
def test_kill_9_at_twenty_random_moments_changes_nothing(data: Path, undisturbed: Path, tmp_path: Path) -> None:
    delays, kills, runs, resumed = random.Random(0), 0, 0, 0
    while kills < KILLS:
        folder = tmp_path / str(runs)
        folder.mkdir(exist_ok=True)
        process = start(data, folder)
        await_start(folder, process)
        process.join(timeout=delays.uniform(0, 1.5))
        if process.exitcode is None:
            process.kill()
            process.join()
            kills += 1
            resumed += "resumed from step" in (folder / "train.log").read_text()
            for output in ("model.safetensors", "metrics.csv"):
                if (folder / output).exists():
                    assert (folder / output).read_bytes() == (undisturbed / output).read_bytes()
            continue
        assert process.exitcode == 0
        assert_same_results(folder, undisturbed)
        runs += 1
    process = start(data, folder)
    process.join()
    assert process.exitcode == 0
    assert_same_results(folder, undisturbed)
    assert resumed > KILLS // 4, "attempts went on from where earlier ones were killed"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1, signal.SIGTERM])
def test_a_signal_ends_the_job_with_a_checkpoint_and_a_code_that_asks_for_a_retry(
    number: signal.Signals, data: Path, undisturbed: Path, tmp_path: Path
) -> None:
    process = start(data, tmp_path)
    await_checkpoint(tmp_path, process)
    assert process.pid is not None
    os.kill(process.pid, number)
    process.join()
    assert process.exitcode == RETRY_EXIT_CODE == 75
    log = (tmp_path / "train.log").read_text()
    last = max((tmp_path / "state").glob("checkpoint-*.pt"))
    step = int(last.stem.removeprefix("checkpoint-"))
    assert log.splitlines()[-1].startswith(
        f"{number.name} ended the training after step {step} of 400; a checkpoint is in"
    )
    assert log.endswith("run the same command again\n") and "Traceback" not in log
    assert not (tmp_path / "model.safetensors").exists()
    process = start(data, tmp_path)
    process.join()
    assert process.exitcode == 0
    assert f"resumed from step {step} of" in (tmp_path / "train.log").read_text()
    assert_same_results(tmp_path, undisturbed)
    assert not list((tmp_path / "state").glob("checkpoint-*")), "a finished stage needs no checkpoints"


@pytest.mark.slow
def test_a_second_ctrl_c_ends_the_job_at_once_and_the_earlier_checkpoint_resumes(
    data: Path, undisturbed: Path, tmp_path: Path
) -> None:
    process = start(data, tmp_path)
    await_checkpoint(tmp_path, process)
    assert process.pid is not None
    with suppress(ProcessLookupError):
        while process.is_alive():
            os.kill(process.pid, signal.SIGINT)
    process.join()
    assert process.exitcode == -signal.SIGINT
    process = start(data, tmp_path)
    process.join()
    assert process.exitcode == 0
    assert "resumed from step" in (tmp_path / "train.log").read_text()
    assert_same_results(tmp_path, undisturbed)


@pytest.fixture
def run_mounted(tmp_path: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Runs a shell script in a namespace of its own, where it may mount file systems."""
    namespace = ["unshare", "--user", "--map-root-user", "--mount"]
    tried = subprocess.run([*namespace, "mount", "-t", "tmpfs", "tmpfs", tmp_path], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip("this machine does not let `unshare` mount a file system")
    return lambda script: subprocess.run(
        [*namespace, "sh", "-c", script], capture_output=True, text=True, timeout=120, check=False
    )


def job_command(data: Path, folder: Path) -> str:
    return shlex.join(map(str, (sys.executable, __file__, data, folder)))


@pytest.mark.slow
def test_a_full_disk_is_named_and_the_earlier_checkpoint_resumes(
    data: Path, undisturbed: Path, tmp_path: Path, run_mounted: Callable[[str], subprocess.CompletedProcess[str]]
) -> None:
    state, copy = tmp_path / "state", tmp_path / "copy"
    process = start(data, tmp_path)
    await_checkpoint(tmp_path, process)
    process.kill()
    process.join()
    for unfinished in state.glob(".checkpoint-*"):
        unfinished.unlink()
    kept = {path.name: path.read_bytes() for path in state.iterdir()}
    state.rename(copy)
    state.mkdir()
    pages = sum(-(-len(content) // 4096) for content in kept.values()) + 3
    result = run_mounted(
        f"mount -t tmpfs -o size={pages * 4096} tmpfs {state} && cp {copy}/* {state} && {job_command(data, tmp_path)}; "
        f"code=$?; cp -a {state} {tmp_path}/after; exit $code"
    )
    assert result.returncode == 1
    assert "could not be written (No space left on device)" in result.stderr
    assert "free disk space and run it again" in result.stderr
    assert {path.name: path.read_bytes() for path in (tmp_path / "after").iterdir()} == kept
    state.rmdir()
    copy.rename(state)
    process = start(data, tmp_path)
    process.join()
    assert process.exitcode == 0
    assert_same_results(tmp_path, undisturbed)


@pytest.mark.slow
def test_a_read_only_state_folder_is_named_before_any_step(
    data: Path, tmp_path: Path, run_mounted: Callable[[str], subprocess.CompletedProcess[str]]
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    result = run_mounted(f"mount -t tmpfs -o ro tmpfs {state} && {job_command(data, tmp_path)}")
    assert result.returncode == 1
    assert "checkpoints cannot be written here (Read-only file system): make the folder writable" in result.stderr
    assert str(state) in result.stderr


if __name__ == "__main__":
    run_job(Path(sys.argv[1]), Path(sys.argv[2]))
