"""``snakemake --profile slurm all`` from nothing, with slurmctld away for half a minute in the middle."""

import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from compared import differences, results_of
from driving import TINY, Driver, witnessed
from private_cluster import PrivateCluster, until

OUTAGE_SECONDS = 30
GPU_RULES = ("train_lam", "relabel_episodes", "train_action_decoders", "train_policy", "evaluate_agents")
GPU_COMMENTS = tuple(f"rule_{rule}_" for rule in GPU_RULES)


def most_gpus_at_once(cluster: PrivateCluster, finished: threading.Event) -> Counter[str]:
    """Jobs that ran with a GPU at once, at most, and how often somebody looked."""
    seen: Counter[str] = Counter()
    while not finished.wait(0.5):
        try:
            lines = cluster.command("squeue", "--noheader", "--states=RUNNING", "--format=%k").splitlines()
        except AssertionError:  # slurmctld is away
            continue
        seen["looks"] += 1
        seen["most"] = max(seen["most"], sum(line.startswith(GPU_COMMENTS) for line in lines))
    return seen


def trains(cluster: PrivateCluster) -> bool:
    return "rule_train_lam_" in cluster.command("squeue", "--noheader", "--states=RUNNING", "--format=%k")


@pytest.fixture(scope="module")
def whole_run(
    copied: Callable[[Path], Path],
    drive: Callable[..., Driver],
    cluster: PrivateCluster,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, str, Counter[str]]:
    """The checkout, what the driver said, and `most_gpus_at_once`."""
    checkout = copied(tmp_path_factory.mktemp("whole") / "checkout")
    finished, watched = threading.Event(), [Counter[str]()]
    watcher = threading.Thread(target=lambda: watched.append(most_gpus_at_once(cluster, finished)))
    watcher.start()
    driver = drive(checkout, "all", TINY)
    try:
        until(lambda: trains(cluster), seconds=240, what="the first training")
        cluster.stop_controller()
        time.sleep(OUTAGE_SECONDS)
        cluster.start_controller()
        said = driver.wait(seconds=780)
    finally:
        finished.set()
        watcher.join()
    return checkout, said, watched[-1]


def test_the_results_are_those_of_a_local_run(whole_run: tuple[Path, str, Counter[str]], tiny_run: Path) -> None:
    found, wanted = results_of(whole_run[0]), results_of(tiny_run)
    assert len(wanted) > 100
    assert differences(found, wanted) == []


def test_no_job_needed_a_second_attempt(whole_run: tuple[Path, str, Counter[str]]) -> None:
    assert "Trying to restart" not in whole_run[1]
    assert "Error in rule" not in whole_run[1]


def test_a_second_run_has_nothing_to_do(
    whole_run: tuple[Path, str, Counter[str]], drive: Callable[..., Driver]
) -> None:
    assert "Nothing to be done" in drive(whole_run[0], "all", TINY).wait(seconds=120)


def test_jobs_on_a_gpu_got_one_from_slurm_and_the_others_none(
    whole_run: tuple[Path, str, Counter[str]], cluster: PrivateCluster
) -> None:
    assert whole_run[0].exists()
    records = witnessed(cluster)
    assert {record["script"] for record in records} > {f"{rule}.py" for rule in GPU_RULES}
    for record in records:
        visible = record["CUDA_VISIBLE_DEVICES"]
        if record["script"].removesuffix(".py") in GPU_RULES:
            assert visible and re.fullmatch(r"\d+", visible), record
        else:
            assert not visible, record


def test_no_more_gpu_jobs_ran_at_once_than_there_are_gpus(
    whole_run: tuple[Path, str, Counter[str]], cluster: PrivateCluster
) -> None:
    seen = whole_run[2]
    assert seen["looks"] > 50
    assert seen["most"] == cluster.gpus
