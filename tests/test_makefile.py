"""What `make` says before it acts, what it deletes, and folders with spaces; nothing is installed here."""

import fcntl
import shutil
import subprocess
from pathlib import Path

import pytest

from lamflow.runs.driver import LOCK

ROOT = Path(__file__).parents[1]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "lam flow ü"
    for path in (
        "results/tiny/state/lam",
        "results/tiny/data",
        ".snakemake",
        ".mypy_cache",
        "src",
        "tests",
        "benchmarks",
    ):
        folder.joinpath(path).mkdir(parents=True)
    folder.joinpath("results/tiny/data/actions").write_bytes(bytes(70_000))
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy2(ROOT / name, folder / name)
    return folder


def make(checkout: Path, *arguments: str, answer: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *arguments], cwd=checkout, input=answer, capture_output=True, text=True, check=False, timeout=60
    )


def test_an_installation_says_what_it_is_and_how_large_before_it_begins(checkout: Path) -> None:
    plan = make(checkout, "--dry-run", "quickstart").stdout
    announced = plan.index("up to 3 GB on the disk")
    assert announced < plan.index("Step 1 of 3") < plan.index("Step 2 of 3") < plan.index("Step 3 of 3")
    assert announced < plan.index("pip --disable") and "--quiet" not in plan


def test_an_environment_may_lie_in_a_folder_with_a_space(checkout: Path) -> None:
    plan = make(checkout, "--dry-run", "VENV=/opt/my venv", "quickstart").stdout
    assert r"/opt/my\ venv/bin/python -m snakemake --cores all" in plan
    installed = checkout / "my venv" / ".installed"
    installed.parent.joinpath("bin").mkdir(parents=True)
    installed.parent.joinpath("bin", "python").touch()
    installed.touch()
    assert "pip" not in make(checkout, "--dry-run", "VENV=my venv", "quickstart").stdout


@pytest.mark.parametrize(
    ("target", "lost", "kept"),
    [
        ("clean", [".mypy_cache"], ["results/tiny/state", "results/tiny/data", ".snakemake"]),
        ("clean-state", ["results/tiny/state"], ["results/tiny/data", ".snakemake"]),
        ("clean-results", ["results", ".snakemake"], [".mypy_cache", "src"]),
    ],
)
def test_deleting_says_how_large_it_is_and_waits_for_an_answer(
    target: str, lost: list[str], kept: list[str], checkout: Path
) -> None:
    refused = make(checkout, target)
    assert refused.returncode != 0 and "Kept." in refused.stdout and "total" in refused.stdout
    assert all(checkout.joinpath(path).exists() for path in lost + kept)
    assert make(checkout, target, answer="y\n").returncode == 0
    assert not any(checkout.joinpath(path).exists() for path in lost)
    assert all(checkout.joinpath(path).exists() for path in kept)


def test_nothing_is_deleted_while_a_run_goes_on(checkout: Path) -> None:
    with checkout.joinpath(LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused = make(checkout, "clean-results", "YES=1")
        assert refused.returncode != 0 and "A run is going on in this folder" in refused.stderr
    assert checkout.joinpath("results").exists()
    assert make(checkout, "clean-results", "YES=1").returncode == 0


def test_the_disk_is_listed_by_what_can_be_deleted(checkout: Path) -> None:
    listed = [line.split("\t")[1] for line in make(checkout, "disk").stdout.splitlines()]
    assert listed == [".snakemake", "results/tiny/", "results/tiny/state/", "results/tiny/data/"]


def test_workers_keep_the_tests_of_a_file_together(request: pytest.FixtureRequest) -> None:
    """Else each worker makes what they share. pytest-xdist 3.8 no longer heeds its own mark with pytest 9.2, and says nothing."""
    if not request.config.getoption("loadgroup", default=False):
        pytest.skip("one process, or another way of sharing the tests out")
    assert request.node.nodeid.endswith(f"@{Path(__file__).stem}")
