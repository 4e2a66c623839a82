"""Snakemake on a private cluster: its driver, the trainings that faults are tried on, and what jobs saw."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from private_cluster import PATIENCE, PrivateCluster

WITNESS = Path(__file__).parent / "witness"
PLUGINS = Path(__file__).parent / "plugins"
POLLING = ("--lamflow-init-seconds-before-status-checks=2",)
"""A user's minutes are longer than a test's."""
CHECKPOINT_EVERY = 20
"""Steps of config/tiny.yaml's LAMs, of 60."""
LAMS = [
    *(f"xland-doorkey-5x5-full/{lam}/seed{seed}" for lam in ("lapo", "single_code") for seed in (0, 1)),
    *(f"xland-r1-9x9/lapo/seed{seed}" for seed in (0, 1)),
]
TINY = "--configfile=config/tiny.yaml"
SEED_TABLE = "results/tiny/summary/xland-r1-9x9/seed0.csv"


class Driver:
    """A Snakemake process that submits a checkout's jobs to a private cluster."""

    def __init__(self, cluster: PrivateCluster, checkout: Path, *arguments: str) -> None:
        self.cluster, self.checkout = cluster, checkout
        self.output = checkout / f"driver-{time.monotonic_ns()}.out"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [*snakemake_command(), *POLLING, *arguments],
                cwd=checkout,
                env=driver_environment(cluster),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests in the background ignore it
            )

    @property
    def said(self) -> str:
        return self.output.read_text()

    def wait(self, *, seconds: float = 600) -> str:
        """What it said in the end; it must succeed."""
        try:
            status = self.process.wait(timeout=PATIENCE * seconds)
        except subprocess.TimeoutExpired:
            queue = self.cluster.command("squeue", "--format=%i %T %r %k")
            raise AssertionError(
                f"the driver still runs after {PATIENCE * seconds:.0f} s\n{queue}\n{self.said[-4000:]}"
            ) from None
        assert status == 0, self.said[-6000:]
        return self.said

    def kill(self) -> None:
        """kill -9 of this process and of nothing else: its jobs know nothing of it."""
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """Whatever is left after a test that failed."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self.kill()


def snakemake_command() -> list[str]:
    return [sys.executable, "-m", "snakemake", "--nocolor", "--profile=slurm"]


def driver_environment(cluster: PrivateCluster) -> dict[str, str]:
    """As a user's on a login node, with the witness and the tests' executor on the Python path, and without a package path of theirs."""
    witness = {"PYTHONPATH": f"{WITNESS}{os.pathsep}{PLUGINS}", "WITNESS": str(cluster.folder / "witness")}
    return os.environ | cluster.environment | witness


@contextmanager
def started(folder: Path, **options: Any) -> Iterator[PrivateCluster]:
    """A cluster that runs within the block, and leaves no process behind."""
    cluster = PrivateCluster(folder, **options)
    folder.joinpath("witness").mkdir()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
    left = [process for process in psutil.process_iter(["cmdline"]) if str(folder) in str(process.info["cmdline"])]
    assert left == []


def witnessed(cluster: PrivateCluster) -> list[dict[str, Any]]:
    """What the stages' processes saw, in the order in which they started."""
    records = [json.loads(path.read_text()) for path in cluster.folder.joinpath("witness").glob("*.json")]
    return sorted(records, key=lambda record: record["started"])


def submissions(said: str) -> list[str]:
    """Rules and wildcards of the jobs that a driver submitted, as in the paths of their Slurm logs."""
    return re.findall(r"submitted with SLURM jobid \d+ \(log: \S*/logs/slurm/(\S+)/\d+\.log\)", said)


def hold_trainings(cluster: PrivateCluster) -> None:
    """Let the first attempt at each LAM from now on wait after its first checkpoint, until it gets SIGTERM or is killed."""
    cluster.folder.joinpath("witness", "hold").touch()


def held_trainings(cluster: PrivateCluster) -> dict[str, str]:
    """The Slurm jobs whose trainings wait, or waited, after their first checkpoint: by ``env/lam/seed<k>``."""
    held = cluster.folder.joinpath("witness").glob("held-*[0-9]")
    return {path.read_text(): path.name.removeprefix("held-") for path in held}


def with_episodes(finished: Path, target: Path) -> Path:
    """A copy of a finished tiny run of which no more is left than demonstrators and episodes: LAMs have to be trained again."""
    shutil.copytree(finished, target, symlinks=True, ignore=shutil.ignore_patterns("driver-*.out"))
    for made in [target / "logs", *target.joinpath("results/tiny").iterdir()]:
        if made.name not in ("data", "experts") and made.exists():
            shutil.rmtree(made) if made.is_dir() else made.unlink()
    return target


def lam_targets() -> list[str]:
    return [f"results/tiny/lam/{lam}/model.safetensors" for lam in LAMS]
