"""A driver that is killed in the middle of a run on Slurm, and its successor."""

import re
import shlex
import shutil
import subprocess
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from compared import differences, results_of
from driving import (
    CHECKPOINT_EVERY,
    POLLING,
    SEED_TABLE,
    TINY,
    Driver,
    driver_environment,
    held_trainings,
    hold_trainings,
    snakemake_command,
    submissions,
    with_episodes,
    witnessed,
)
from private_cluster import PATIENCE, PrivateCluster, until

LAM = "xland-r1-9x9/lapo/seed0"
GRES = ("--set-resources", "train_lam:gpu=0", "train_lam:gres=gpu:1")
"""The other form in which a site may want to be asked for GPUs."""
CHAINED = ("relabel_episodes", "train_action_decoders", "train_policy", "evaluate_agents")
CHAINS = (
    "--groups",
    *(f"{rule}=chain" for rule in CHAINED),
    "--set-resource-scopes",
    "gpu=local",
    "--resources",
    "gpu=1",
)
TRAINING = "train_lam_wildcards_tiny_xland-r1-9x9_lapo_0"


def times_of(checkout: Path) -> dict[str, int]:
    """When each result was last written."""
    root = checkout / "results/tiny"
    return {path: root.joinpath(path).stat().st_mtime_ns for path in results_of(checkout)}


def watch_for_twins(cluster: PrivateCluster, finished: threading.Event, twins: Counter[str]) -> None:
    """Count how often somebody looked ("looks"), and how often two live jobs did the same then."""
    while not finished.wait(0.3):
        comments = Counter(cluster.command("squeue", "--noheader", "--states=R,CG", "--format=%k").splitlines())
        twins.update(["looks", *(comment for comment, number in comments.items() if number > 1)])


def drive_in_a_job(cluster: PrivateCluster, checkout: Path, *arguments: str) -> str:
    """What a driver says that is a Slurm job itself, by its name and its folder like those that it submits."""
    output = checkout / "driver-in-a-job.out"
    options = (f"--job-name=lamflow_{uuid.uuid4()}", f"--chdir={checkout}", f"--output={output}", "--mem=1000")
    command = shlex.join([*snakemake_command(), *POLLING, *arguments])
    environment = driver_environment(cluster)
    result = subprocess.run(
        ["sbatch", "--parsable", *options, f"--wrap={command}"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    job = result.stdout.strip()

    def has_ended() -> bool:
        state = cluster.command("squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T").strip()
        return state not in {"PENDING", "RUNNING", "COMPLETING"}

    until(has_ended, seconds=400, what="the driver's job", poll=0.5)
    said = output.read_text()
    state = cluster.command("squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T").strip()
    assert state == "COMPLETED", said[-4000:]
    return said


class Story:
    """What happened, for the tests to ask about."""

    checkout: Path
    refused: list[str]
    first: str
    second: str
    finished_before: dict[str, int]
    twins: Counter[str]


@pytest.fixture(scope="module")
def story(
    tiny_run: Path, drive: Callable[..., Driver], cluster: PrivateCluster, tmp_path_factory: pytest.TempPathFactory
) -> Story:
    told = Story()
    told.checkout = with_episodes(tiny_run, tmp_path_factory.mktemp("killed") / "checkout")
    hold_trainings(cluster)
    shutil.rmtree(told.checkout / "results/tiny/data/xland-r1-9x9")
    first = drive(told.checkout, SEED_TABLE, TINY)
    until(lambda: LAM in held_trainings(cluster), seconds=240, what="a checkpoint")

    told.refused = []
    for unlocked in (False, True):
        if unlocked:
            drive(told.checkout, "--unlock", TINY).wait(seconds=60)
        second = drive(told.checkout, SEED_TABLE, TINY)
        assert second.process.wait(timeout=60 * PATIENCE) != 0
        told.refused.append(second.said)

    first.kill()
    told.first = first.said
    assert cluster.command("squeue", "--noheader", "--states=RUNNING", "--format=%k").split() == [f"rule_{TRAINING}"]
    told.finished_before = times_of(told.checkout)

    told.twins, finished = Counter(), threading.Event()
    watcher = threading.Thread(target=watch_for_twins, args=(cluster, finished, told.twins))
    watcher.start()
    try:
        told.second = drive_in_a_job(cluster, told.checkout, SEED_TABLE, TINY, *GRES, *CHAINS)
    finally:
        finished.set()
        watcher.join()
    return told


def test_a_second_driver_was_refused_while_the_first_lived(story: Story) -> None:
    assert "Directory cannot be locked" in story.refused[0]
    assert "another run is going on in this folder, process" in story.refused[1]
    assert not any("submitted with SLURM" in said for said in story.refused)


def test_the_orphan_was_ended_before_anything_was_submitted(story: Story) -> None:
    orphan = re.search(rf"submitted with SLURM jobid (\d+) \(log: \S*{TRAINING.split('_wildcards_')[0]}/", story.first)
    assert orphan
    found = story.second.index(
        f"1 Slurm jobs of an earlier run, whose driver was killed, are still there. They are cancelled now: {orphan[1]}."
    )
    assert found < story.second.index("submitted with SLURM")


def test_no_two_jobs_did_the_same_at_once(story: Story) -> None:
    assert story.twins["looks"] > 50
    assert set(story.twins) == {"looks"}


def test_the_training_resumed_where_the_orphan_was_ended(story: Story) -> None:
    log = story.checkout.joinpath("results/tiny/logs/train_lam", f"{LAM}.log").read_text()
    resumed = re.search(r"^resumed from step (\d+) of ", log, flags=re.MULTILINE)
    assert resumed and int(resumed[1]) >= CHECKPOINT_EVERY


def test_what_follows_the_lam_was_one_job_on_one_gpu(story: Story, cluster: PrivateCluster) -> None:
    chains = [job for job in submissions(story.second) if job.startswith("group_chain")]
    assert len(chains) == len([job for job in submissions(story.second) if "train_lam" not in job]) == 1
    by_script = {record["script"].removesuffix(".py"): record for record in witnessed(cluster)}
    parts = [by_script[rule] for rule in CHAINED]
    assert len({record["SLURM_JOB_ID"] for record in parts}) == 1
    assert all(re.fullmatch(r"\d+", record["CUDA_VISIBLE_DEVICES"]) for record in [*parts, by_script["train_lam"]])


def test_nothing_finished_was_redone(story: Story) -> None:
    collected = {f"rule_collect_episodes/tiny_xland-r1-9x9_{split}" for split in ("train", "validation", "test")}
    assert set(submissions(story.first)) >= {*collected - {"rule_collect_episodes/tiny_xland-r1-9x9_test"}}
    redone = set(submissions(story.first)) & set(submissions(story.second))
    assert redone <= {"rule_train_lam/tiny_xland-r1-9x9_lapo_0"}
    after = times_of(story.checkout)
    kept = [path for path in story.finished_before if path.startswith("data/xland-r1-9x9")]
    assert len(kept) > 10
    assert [path for path in kept if after[path] != story.finished_before[path]] == []


def test_the_results_are_those_of_a_local_run(story: Story, tiny_run: Path) -> None:
    def made(checkout: Path) -> dict[str, bytes]:
        wanted = ("data/xland-r1-9x9/", f"lam/{LAM}/", f"latents/{LAM}/", "summary/xland-r1-9x9/seed0.csv")
        return {path: content for path, content in results_of(checkout).items() if path.startswith(wanted)}

    assert differences(made(story.checkout), made(tiny_run)) == []
    assert "summary/xland-r1-9x9/seed0.csv" in made(tiny_run)
