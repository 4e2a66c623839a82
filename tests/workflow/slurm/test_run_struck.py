"""Trainings on Slurm that are ended in the middle in every way that a cluster knows, each once, in one run."""

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from compared import differences, results_of
from driving import (
    CHECKPOINT_EVERY,
    LAMS,
    TINY,
    Driver,
    held_trainings,
    hold_trainings,
    lam_targets,
    started,
    with_episodes,
    witnessed,
)
from private_cluster import PATIENCE, PrivateCluster

FAULTS = {
    "xland-doorkey-5x5-full/lapo/seed0": "memory",
    "xland-doorkey-5x5-full/lapo/seed1": "scancel",
    "xland-doorkey-5x5-full/single_code/seed0": "time limit",
    "xland-doorkey-5x5-full/single_code/seed1": "end of time",
    "xland-r1-9x9/lapo/seed0": "kill -9",
    "xland-r1-9x9/lapo/seed1": "dead node",
}
SIGNALS = ("scancel", "time limit", "end of time")
"""Of which a training is told."""
STATES = {
    "memory": "FAILED",
    "scancel": "CANCELLED",
    "time limit": "FAILED",
    "end of time": "TIMEOUT",
    "kill -9": "FAILED",
    "dead node": "NODE_FAIL",
}
"""How Slurm calls the end of the first attempt. A training that got the signal ahead of its limit ends by itself; without
control groups a step above its memory is killed, and only its log says why."""


@pytest.fixture(scope="module")
def cluster(slurm_programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateCluster]:
    """A node a training, so that one can die alone, which Slurm notices after half a minute."""
    with started(tmp_path_factory.mktemp("slurm"), nodes=len(FAULTS), settings={"SlurmdTimeout": 30}) as running:
        yield running


def details(cluster: PrivateCluster, job: str) -> dict[str, str]:
    return dict(re.findall(r"(\w+)=(\S+)", cluster.command("scontrol", "show", "job", job)))


def strike(cluster: PrivateCluster, fault: str, job: str) -> None:
    """Bring about a fault of a running job, whose training waits for SIGTERM."""
    match fault:
        case "memory":
            megabytes = int(details(cluster, job)["MinMemoryNode"].removesuffix("M"))
            cluster.folder.joinpath("witness", f"eat-{job}.new").write_text(str(megabytes))
            cluster.folder.joinpath("witness", f"eat-{job}.new").rename(
                cluster.folder.joinpath("witness", f"eat-{job}")
            )
        case "scancel":
            cluster.command("scancel", job)
        case "time limit":
            hours, minutes, _ = map(int, details(cluster, job)["RunTime"].split(":"))
            cluster.command("scontrol", "update", f"JobId={job}", f"TimeLimit={60 * hours + minutes + 2}")
        case "end of time":
            cluster.command("scontrol", "update", f"JobId={job}", "EndTime=now")
        case "kill -9":
            record = next(record for record in witnessed(cluster) if record["SLURM_JOB_ID"] == job)
            os.kill(record["pid"], signal.SIGKILL)
        case "dead node":
            cluster.kill_node(details(cluster, job)["NodeList"])


class Struck(NamedTuple):
    """A run in which each training's first job (``jobs``) was struck after a checkpoint. The driver ``said`` what each failed attempt
    had logged: by then the next attempt may have begun the log anew."""

    checkout: Path
    said: str
    jobs: dict[str, str]


@pytest.fixture(scope="module")
def struck_run(
    tiny_run: Path, drive: Callable[..., Driver], cluster: PrivateCluster, tmp_path_factory: pytest.TempPathFactory
) -> Struck:
    checkout = with_episodes(tiny_run, tmp_path_factory.mktemp("struck") / "checkout")
    hold_trainings(cluster)
    driver = drive(checkout, *lam_targets(), TINY, "--show-failed-logs")
    struck: dict[str, str] = {}
    deadline = time.monotonic() + 300 * PATIENCE
    while len(struck) < len(FAULTS):
        assert driver.process.poll() is None, driver.said[-4000:]
        assert time.monotonic() < deadline, f"struck in time: {struck}\n{driver.said[-4000:]}"
        held = held_trainings(cluster)
        for lam, fault in FAULTS.items():
            if lam in held and lam not in struck:
                strike(cluster, fault, held[lam])
                struck[lam] = held[lam]
        time.sleep(0.1)
    return Struck(checkout, driver.wait(seconds=400), struck)


def resumed_at(checkout: Path, lam: str) -> int:
    """The step that a training's last attempt began with, as its log says."""
    log = checkout.joinpath("results/tiny/logs/train_lam", f"{lam}.log").read_text()
    found = re.search(r"^resumed from step (\d+) of ", log, flags=re.MULTILINE)
    assert found, log
    return int(found[1])


def ended_after(said: str, lam: str) -> int:
    """The step that a training's first attempt ended after, as its log said when the attempt had failed."""
    log = re.search(rf"^Logfile \S*/{lam}\.log:\n=+\n(.*?)^=+$", said, flags=re.MULTILINE | re.DOTALL)
    assert log, said[-6000:]
    found = re.search(r"SIGTERM ended the training after step (\d+) of", log[1])
    assert found, log[1]
    return int(found[1])


@pytest.mark.parametrize("lam", LAMS, ids=FAULTS.get)
def test_slurm_ended_the_first_attempt_and_snakemake_began_a_second(struck_run: Struck, lam: str) -> None:
    found = re.search(rf"SLURM-job '{struck_run.jobs[lam]}' failed.* SLURM status is: '(\w+)'", struck_run.said)
    assert found, struck_run.said[-6000:]
    assert found[1] == STATES[FAULTS[lam]]


def test_the_memory_was_exceeded(struck_run: Struck) -> None:
    lam = next(lam for lam, fault in FAULTS.items() if fault == "memory")
    (path,) = struck_run.checkout.joinpath("logs/slurm").rglob(f"{struck_run.jobs[lam]}.log")
    assert "exceeded memory limit" in path.read_text()


@pytest.mark.parametrize("lam", LAMS, ids=FAULTS.get)
def test_the_second_attempt_resumed_from_a_checkpoint(struck_run: Struck, lam: str) -> None:
    assert resumed_at(struck_run.checkout, lam) >= CHECKPOINT_EVERY


@pytest.mark.parametrize("lam", [lam for lam in LAMS if FAULTS[lam] in SIGNALS], ids=FAULTS.get)
def test_a_signal_loses_no_step(struck_run: Struck, lam: str) -> None:
    assert resumed_at(struck_run.checkout, lam) == ended_after(struck_run.said, lam)


@pytest.mark.parametrize("lam", LAMS, ids=FAULTS.get)
def test_the_second_attempt_asked_for_more_memory_and_time(
    struck_run: Struck, cluster: PrivateCluster, lam: str
) -> None:
    comment = details(cluster, struck_run.jobs[lam])["Comment"]
    listed = cluster.command("squeue", "--noheader", "--states=all", "--sort=i", "--format=%k|%i").splitlines()
    first, second, *_ = (details(cluster, line.split("|")[1]) for line in listed if line.split("|")[0] == comment)
    assert int(second["MinMemoryNode"][:-1]) > int(first["MinMemoryNode"][:-1])
    if FAULTS[lam] not in ("time limit", "end of time"):  # whose limit was changed to bring about the fault
        assert second["TimeLimit"] > first["TimeLimit"]


@pytest.mark.parametrize("lam", LAMS, ids=FAULTS.get)
def test_model_and_metrics_are_those_of_a_local_run(struck_run: Struck, tiny_run: Path, lam: str) -> None:
    def of_this_lam(checkout: Path) -> dict[str, bytes]:
        return {path: content for path, content in results_of(checkout).items() if path.startswith(f"lam/{lam}/")}

    assert len(of_this_lam(tiny_run)) == 2
    assert differences(of_this_lam(struck_run.checkout), of_this_lam(tiny_run)) == []


def test_nothing_is_to_be_done_afterwards(struck_run: Struck, planned: Callable[..., list[str]]) -> None:
    assert planned(struck_run.checkout, *lam_targets(), TINY) == []


def is_made_in_part(path: str) -> bool:
    return "seed1" not in path and "xland-r1-9x9" not in path


def in_both(results: dict[str, bytes]) -> dict[str, bytes]:
    """What a run of one environment and seed makes as the run of all does; tables and figures over all seeds are not of it."""

    def is_of_it(path: str) -> bool:
        over_seeds = path.startswith(("summary/", "plots/")) and "/seed" not in path
        return is_made_in_part(path) and not over_seeds

    return {path: content for path, content in results.items() if is_of_it(path)}


# Last of all: the run on this machine has had the time of the others.
def test_all_results_of_the_run_from_nothing_are_those_of_a_local_run(finished_run: Path, tiny_run: Path) -> None:
    found, wanted = results_of(finished_run), results_of(tiny_run)
    assert len(in_both(wanted)) > 100
    assert differences(in_both(found), in_both(wanted)) == []
    assert found.keys() == {path for path in wanted if is_made_in_part(path)}
