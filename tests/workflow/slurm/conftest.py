"""The workflow on a Slurm of the tests' own. Without Slurm's programs these tests are skipped, or fail where LAMFLOW_NEEDS_SLURM is set."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from driving import Driver, started
from private_cluster import PrivateCluster, missing_programs
from whole import WholeRun


@pytest.fixture(scope="session")
def slurm_programs() -> None:
    """Skips where Slurm is not installed."""
    if missing := missing_programs():
        message = f"not installed: {', '.join(missing)} (on Debian: slurmctld slurmd slurm-client munge)"
        if os.environ.get("LAMFLOW_NEEDS_SLURM"):
            pytest.fail(message)
        pytest.skip(message)


@pytest.fixture(scope="module")
def cluster(slurm_programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateCluster]:
    """Two nodes of two cores and one GPU each."""
    with started(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@pytest.fixture(scope="module")
def drive(cluster: PrivateCluster) -> Iterator[Callable[..., Driver]]:
    """Starts ``snakemake --profile slurm <arguments>`` in a checkout."""
    drivers: list[Driver] = []

    def start(checkout: Path, *arguments: str) -> Driver:
        drivers.append(Driver(cluster, checkout, *arguments))
        return drivers[-1]

    yield start
    for driver in drivers:
        driver.end()


@pytest.fixture(scope="session")
def whole_run(
    slurm_programs: None, copied: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WholeRun]:
    """The whole of one environment and seed of config/tiny.yaml, on a cluster of its own, in a fresh checkout."""
    with started(
        tmp_path_factory.mktemp("slurm_whole"), settings={"MinJobAge": 7200}
    ) as running:  # remembers every job
        run = WholeRun(running, copied(tmp_path_factory.mktemp("whole") / "checkout"))
        yield run
        run.stop()


@pytest.fixture(scope="session", autouse=True)
def begun_early(request: pytest.FixtureRequest) -> None:
    """Begins the whole run with the first of these tests, if it is asked for at all: `test_guard` and `test_orphans` mostly wait."""
    if any("whole_run" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("whole_run")


@pytest.fixture(scope="session")
def finished_run(whole_run: WholeRun, begin_tiny_run: Callable[[], object]) -> Path:
    """A checkout in which one environment and seed of config/tiny.yaml ran on Slurm. The run on this machine alone, with which results
    are compared, begins now, unless it has."""
    whole_run.end()
    begin_tiny_run()
    return whole_run.checkout
