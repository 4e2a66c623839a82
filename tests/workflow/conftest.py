"""Snakemake itself, run on copies of this checkout: no test touches the checkout's own results."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest
from filelock import FileLock
from plans import jobs_in, without_messages
from warm_snakemake import WarmSnakemake

ROOT = Path(__file__).parents[2]
PARTS = ("Snakefile", "config", "envs", "profiles", "resources/experts", "slurm", "src", "workflow")
TINY = ("--configfile=config/tiny.yaml",)

Run = Callable[..., subprocess.CompletedProcess[str]]


OPTIONS = ("--cores", "2", "--nocolor")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "snakemake", *OPTIONS, *arguments]


def environment() -> dict[str, str]:
    """Without a PYTHONPATH: the Snakefile itself must find the package of its checkout."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def copy_checkout(target: Path) -> Path:
    target.mkdir(parents=True)
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, target / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy2(source, target / part)
    return target


@pytest.fixture(scope="session")
def warm_snakemake() -> Iterator[Callable[[], WarmSnakemake]]:
    """A Snakemake that makes plans without its start; it starts when it is first asked for."""
    with tempfile.TemporaryDirectory() as folder:  # whose path is short enough for a socket's

        @cache
        def start() -> WarmSnakemake:
            return WarmSnakemake(Path(folder))

        yield start
        if start.cache_info().currsize:
            start().close()


@pytest.fixture(scope="session")
def snakemake(warm_snakemake: Callable[[], WarmSnakemake]) -> Run:
    """Runs ``snakemake <arguments>`` in a checkout; stdout and stderr come together, as on a terminal."""

    def run(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        if {"--dry-run", "-n"} & set(arguments):
            return warm_snakemake()([*OPTIONS, *arguments], cwd=checkout, env=environment())
        return subprocess.run(
            command(*arguments),
            cwd=checkout,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=1800,
        )

    return run


@pytest.fixture(scope="session")
def start_snakemake() -> Callable[..., subprocess.Popen[bytes]]:
    """Starts ``snakemake <arguments>`` in a checkout and does not wait for it."""

    def start(checkout: Path, *arguments: str) -> subprocess.Popen[bytes]:
        output = checkout.joinpath("snakemake.out").open("wb")
        return subprocess.Popen(
            command(*arguments), cwd=checkout, env=environment(), stdout=output, stderr=output, start_new_session=True
        )

    return start


@pytest.fixture(scope="session")
def run_to_report(snakemake: Run) -> Callable[..., Path]:
    """Runs ``snakemake <arguments>`` in a checkout to its report, ``report.html``, and answers the checkout."""

    def run(checkout: Path, *arguments: str) -> Path:
        result = snakemake(checkout, *arguments, "--report", "report.html", "--report-after-run", "--show-failed-logs")
        assert result.returncode == 0, result.stdout[-6000:]
        return checkout

    return run


@pytest.fixture(scope="session")
def copied() -> Callable[[Path], Path]:
    """Makes a fresh copy of this checkout at a path."""
    return copy_checkout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A fresh copy of this checkout without results."""
    return copy_checkout(tmp_path / "checkout")


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all workers. LAMFLOW_SHARED_RUNS names one for sessions to come, of the same code."""
    base = tmp_path_factory.getbasetemp()
    if "LAMFLOW_SHARED_RUNS" in os.environ:
        return Path(os.environ["LAMFLOW_SHARED_RUNS"])
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def begin_tiny_run(shared: Path, snakemake: Run) -> Iterator[Callable[[], Future[Path]]]:
    """Begins ``tiny_run`` in the background, unless it has begun; of several workers the first that asks runs it, for all."""
    checkout, output = shared / "tiny" / "checkout", shared / "tiny" / "said"

    def run() -> Path:
        with FileLock(shared / "tiny.lock"):
            if not output.exists():
                copy_checkout(checkout)
                report = ("--report", "results/tiny/report.html", "--report-after-run")
                result = snakemake(checkout, *TINY, *report, "--show-failed-logs")
                output.write_text(f"{result.returncode}\n{result.stdout}")
        status, said = output.read_text().split("\n", maxsplit=1)
        assert status == "0", said[-6000:]
        return checkout

    with ThreadPoolExecutor(1) as pool:
        begin = cache(lambda: pool.submit(run))
        yield begin


@pytest.fixture(scope="session")
def tiny_run(begin_tiny_run: Callable[[], Future[Path]]) -> Path:
    """A checkout in which config/tiny.yaml ran from nothing to the report, once a session. Copy it before changing it."""
    return begin_tiny_run().result()


@pytest.fixture
def finished(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of the finished tiny run, with its times of change, that a test may edit."""
    target = tmp_path / "checkout"
    shutil.copytree(tiny_run, target, symlinks=True)
    return target


@pytest.fixture(scope="session")
def planned(snakemake: Run) -> Callable[..., list[str]]:
    """The messages of the jobs that a dry run plans in a checkout; [] when nothing is to be done."""

    def plan(checkout: Path, *arguments: str) -> list[str]:
        result = snakemake(checkout, "--dry-run", *arguments)
        assert result.returncode == 0, result.stdout[-3000:]
        return jobs_in(result.stdout)

    return plan


@pytest.fixture(scope="session")
def said_of_plan(shared: Path, snakemake: Run) -> Callable[..., str]:
    """What ``snakemake --dry-run <arguments>`` says in a fresh checkout; each plan is made once, for all workers.

    Snakemake prints the resources of rules without a message only: with ``messages=False`` the rules have none.
    """

    def plan(*arguments: str, messages: bool = True) -> str:
        name = hashlib.sha256(json.dumps([arguments, messages]).encode()).hexdigest()[:16]
        folder = shared / "plans"
        folder.mkdir(exist_ok=True)
        with FileLock(folder / f"{name}.lock"):
            said = folder / f"{name}.txt"
            if not said.exists():
                checkout = copy_checkout(folder / name)
                if not messages:
                    without_messages(checkout)
                result = snakemake(checkout, "--dry-run", *arguments)
                assert result.returncode == 0, result.stdout[-3000:]
                said.write_text(result.stdout, encoding="utf-8")
            return said.read_text(encoding="utf-8")

    return plan


@pytest.fixture(scope="session")
def planned_afresh(said_of_plan: Callable[..., str]) -> Callable[..., list[str]]:
    """The messages of the jobs that a dry run plans in a fresh checkout; each plan is made once, for all workers."""
    return lambda *arguments: jobs_in(said_of_plan(*arguments))
