"""The progress of a run as people see it, from plans, events and queues of every kind."""

from __future__ import annotations

import base64
import json
import os
import socket
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lamflow.data.import_progress import ImportProgress
from lamflow.episodes.interface import EpisodeEntry
from lamflow.runs import job_states
from lamflow.runs.driver import LOCK
from lamflow.runs.job_states import RunStatus, State, marked_incomplete, run_status
from lamflow.runs.plan import Driver, Plan, RunJob
from lamflow.runs.progress import main
from lamflow.runs.screen import Look, duration, screen
from lamflow.runs.slurm_queue import QueuedJob, SlurmUnreachable
from lamflow.runs.slurm_reasons import remedy

ENV = "xland-r1-9x9"
EVENTS = "results/tiny/events/run.jsonl"
DEAD = {"ticks": 1}
"""Of a driver whose number another process has."""


def job(number: int, rule: str = "train_lam", seed: int | None = 0, **changes: Any) -> RunJob:
    wildcards = {"experiment": "tiny", "env": ENV} | ({} if seed is None else {"lam": "lapo", "seed": str(seed)})
    values: dict[str, Any] = {
        "id": number,
        "rule": rule,
        "wildcards": wildcards,
        "outputs": [f"results/tiny/{rule}/{number}"],
        "log": f"results/tiny/logs/{number}.log",
        "needed": True,
        "local": True,
        "attempts": 1,
        "submitted_as": str(number),
        "needs": [],
    }
    return RunJob(**(values | changes))


class Folder:
    """A folder in which a run goes on: its plan, its events, its files, and Snakemake's log."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.results = path / "results" / "tiny"
        self.log = path / ".snakemake" / "log" / "run.log"
        self.results.mkdir(parents=True)
        self.log.parent.mkdir(parents=True)
        self.log.write_text("Building DAG of jobs...\n")
        self.note({"event": "began"})

    def note(self, *noted: dict[str, Any]) -> None:
        """Let these be the run's events."""
        self.write(EVENTS, "".join(f"{json.dumps(event)}\n" for event in noted))

    def plan(self, *jobs: RunJob, **driver: Any) -> Plan:
        this = Driver.this_process(slurm_job=None).model_copy(update=driver)
        plan = Plan(
            folder=self.path,
            events=Path(EVENTS),
            snakemake_log=self.log,
            started=datetime.now().astimezone() - timedelta(minutes=3),
            driver=this,
            jobs=list(jobs),
        )
        (self.results / "plan.json").write_text(plan.model_dump_json())
        return plan

    def write(self, path: str, text: str = "", minutes_ago: float = 0) -> Path:
        target = self.path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        then = datetime.now().timestamp() - 60 * minutes_ago
        os.utime(target, (then, then))
        return target

    def mark(self, output: str, longest: int = 254, minutes_ago: float = 0) -> None:
        """As Snakemake marks an output that is being written; names of files are cut to what the file system allows."""
        name = base64.urlsafe_b64encode(output.encode()).decode()
        pieces = [name[i : i + longest] for i in range(0, len(name), longest)]
        path = "/".join([".snakemake/incomplete", *(f"@{piece}" for piece in pieces[:-1]), pieces[-1]])
        self.write(path, minutes_ago=minutes_ago)

    def queued(self, number: int, state: str = "PENDING", reason: str = "Priority", comment: str = "") -> QueuedJob:
        node = "n1" if state == "RUNNING" else ""
        return QueuedJob(str(number), state, "lamflow_1", reason, node, self.path, comment)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.setattr(job_states, "has_slurm", lambda: True)
    return Folder(tmp_path)


def states(run: RunStatus) -> list[State]:
    return [status.state for status in run.jobs]


def shown(run: RunStatus, **look: bool) -> str:
    return screen(run, Path("results/tiny"), datetime.now().astimezone(), Look(**look))


def started(number: int) -> dict[str, Any]:
    return {"event": "started", "job": number}


def finished(number: int) -> dict[str, Any]:
    return {"event": "finished", "job": number}


def failed(number: int, message: str = "", **facts: Any) -> dict[str, Any]:
    return {"event": "failed", "job": number, "message": message, "logs": [f"results/tiny/logs/{number}.log"]} | facts


def submitted(number: int, slurm_id: int) -> list[dict[str, Any]]:
    log = f"/logs/{slurm_id}.log"
    return [started(number), {"event": "submitted", "job": str(number), "slurm_id": str(slurm_id), "log": log}]


# States ---------------------------------------------------------------------------------------------------------------


def test_jobs_of_a_run_on_this_machine(folder: Folder) -> None:
    plan = folder.plan(job(0, needed=False), job(1), job(2), job(3), job(4, attempts=2), job(5))
    folder.note(started(1), finished(1), started(2), started(3), failed(3), started(4), failed(4))
    expected = [State.DONE, State.DONE, State.RUNNING, State.FAILED, State.WAITING, State.WAITING]
    assert states(run_status(plan)) == expected


def test_outputs_count_when_they_are_of_this_run_and_not_marked(folder: Folder) -> None:
    plan = folder.plan(*(job(number) for number in range(3)), **DEAD)
    folder.write("results/tiny/train_lam/0")
    folder.write("results/tiny/train_lam/1", minutes_ago=60)
    folder.write("results/tiny/train_lam/2")
    folder.mark("results/tiny/train_lam/2")
    assert states(run_status(plan)) == [State.DONE, State.WAITING, State.WAITING]


def test_without_an_event_a_marked_output_is_being_written(folder: Folder) -> None:
    plan = folder.plan(job(0), job(1), job(2))
    folder.mark("results/tiny/train_lam/0")
    folder.mark("results/tiny/train_lam/1", minutes_ago=60)
    assert states(run_status(plan)) == [State.RUNNING, State.WAITING, State.WAITING]


def test_marks_of_long_paths_are_put_together(folder: Folder) -> None:
    path = f"results/{'long' * 100}/seed0"
    folder.mark(path, longest=100)
    folder.write(".snakemake/incomplete/no base64!")
    assert marked_incomplete(folder.path, datetime.now() - timedelta(minutes=1)) == {path}


def test_jobs_on_slurm_are_where_squeue_says(folder: Folder) -> None:
    plan = folder.plan(*(job(number, local=False) for number in range(5)))
    folder.note(*(event for number in range(4) for event in submitted(number, 10 + number)), started(4))
    queue = [
        folder.queued(10, "RUNNING"),
        folder.queued(11),
        folder.queued(12, "TIMEOUT"),
    ]
    run = run_status(plan, lambda _: queue)
    assert states(run) == [State.RUNNING, State.QUEUED, State.RUNNING, State.RUNNING, State.QUEUED]
    assert "reached its time limit; Snakemake will see it within minutes" in shown(run)


def test_a_slurm_job_of_which_no_event_tells_is_known_by_its_comment(folder: Folder) -> None:
    plan = folder.plan(job(0, local=False), **DEAD)
    queue = [folder.queued(7, "RUNNING", comment=f"rule_train_lam_wildcards_tiny_{ENV}_lapo_0")]
    assert states(run_status(plan, lambda _: queue)) == [State.RUNNING]


def test_jobs_of_a_dead_driver_wait_unless_slurm_runs_them(folder: Folder) -> None:
    plan = folder.plan(job(0, local=False), job(1, local=False), job(2), **DEAD)
    folder.note(*submitted(0, 10), *submitted(1, 11), started(2))
    run = run_status(plan, lambda _: [folder.queued(10, "RUNNING")])
    assert states(run) == [State.RUNNING, State.WAITING, State.WAITING]
    text = shown(run)
    assert f"Snakemake (process {os.getpid()} on {socket.gethostname()}) is dead" in text
    assert "1 of its Slurm jobs go on without it" in text


def test_a_silent_squeue_leaves_the_rest_to_be_shown(folder: Folder) -> None:
    def refuse(_: Path) -> list[QueuedJob]:
        raise SlurmUnreachable("squeue: Unable to contact slurm controller")

    plan = folder.plan(job(0, local=False), job(1, local=False))
    folder.note(finished(0), *submitted(1, 11))
    run = run_status(plan, refuse)
    assert states(run) == [State.DONE, State.UNKNOWN]
    assert "Slurm does not answer: squeue: Unable to contact slurm controller" in shown(run)


def test_a_machine_without_slurm_says_so(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_states, "has_slurm", lambda: False)
    plan = folder.plan(job(0, local=False))
    assert "this machine has no Slurm commands; look from a login node" in shown(run_status(plan))


def test_a_driver_that_is_a_slurm_job_lives_as_long_as_that(folder: Folder) -> None:
    plan = folder.plan(job(0, local=False), host="elsewhere", slurm_job="5")
    assert run_status(plan, lambda _: [folder.queued(5, "RUNNING")]).alive is True
    assert run_status(plan, lambda _: [folder.queued(5, "CANCELLED")]).alive is False
    other = folder.plan(job(0), host="elsewhere")
    assert "can only be seen there; its log last changed" in shown(run_status(other))


@pytest.mark.parametrize(
    ("pid", "silent", "alive"), [(7, 60, True), (7, 130, False), (8, 1, False)], ids=["lives", "silent", "succeeded"]
)
def test_a_driver_on_another_host_lives_as_long_as_it_shows_life(
    folder: Folder, pid: int, silent: float, alive: bool
) -> None:
    plan = folder.plan(job(0), host="elsewhere", pid=7)
    folder.write(str(LOCK), json.dumps({"pid": pid, "host": "elsewhere"}), minutes_ago=silent / 60)
    assert run_status(plan).alive is alive
    folder.write(str(LOCK), "")
    assert run_status(plan).alive is False, "it has ended in order"


# The screen -----------------------------------------------------------------------------------------------------------


def test_the_table_counts_jobs_by_environment_seed_and_stage(folder: Folder) -> None:
    plan = folder.plan(
        job(0, "collect_episodes", seed=None, needed=False),
        *(job(number, seed=number % 2) for number in range(1, 5)),
        job(5, "summarise", wildcards={"experiment": "tiny"}),
    )
    folder.note(started(1), finished(2))
    lines = shown(run_status(plan)).splitlines()
    assert lines[0].startswith("results/tiny: 2 of 6 jobs done, 1 running, 3 waiting; 3 min since")
    assert [" ".join(line.split()) for line in lines[2:7]] == [
        "episodes LAM results",
        f"{ENV} 1/1",
        "seed 0 1/2",
        "seed 1 0/2 1r",
        "all environments 0/1",
    ]


def test_many_seeds_are_summed_unless_asked_for(folder: Folder) -> None:
    plan = folder.plan(*(job(number, seed=number) for number in range(40)))
    run = run_status(plan)
    assert f"{ENV}  0/40" in shown(run) and "seed 39" not in shown(run)
    assert "  seed 39" in shown(run, all_seeds=True)


def test_colours_do_not_move_columns(folder: Folder) -> None:
    run = run_status(folder.plan(job(0), job(1, "relabel_episodes"), job(2, "train_policy", needed=False)))
    coloured = shown(run, colour=True)
    assert "\033[32m1/1\033[0m" in coloured
    for style in ("1", "2", "31;1", "32", "36"):
        coloured = coloured.replace(f"\033[{style}m", "")
    assert coloured.replace("\033[0m", "") == shown(run)


def test_running_trainings_show_their_last_line(folder: Folder) -> None:
    plan = folder.plan(job(0), job(1, seed=1))
    folder.note(started(0), started(1))
    folder.write(
        "results/tiny/logs/0.log",
        f"resumed from step 20 of x.pt\nlapo on {ENV}, seed 0: step 200 of 600: loss/total 0.5 (99 samples/s, 9 s left)\n"
        f"lapo on {ENV}, seed 0: step 300 of 600: loss/total 0.25, loss/commitment 0.1 (100 samples/s, 8 s left)\na warning\n",
    )
    text = shown(run_status(plan))
    assert "  step 300 of 600 (50%), 100 samples/s, 8 s left: loss/total 0.25, loss/commitment 0.1\n" in text
    assert f"train_lam {ENV} lapo seed 1" in text


def test_running_imports_show_their_last_line(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lamflow.data.import_progress.SECONDS_BETWEEN_LINES", 0)
    progress = ImportProgress("mine: reading", [EpisodeEntry("a", 30), EpisodeEntry("b", 10)], [])
    for _ in progress.over("a"):
        progress.add(20)
        progress.add(10)
    plan = folder.plan(job(0))
    folder.note(started(0))
    folder.write("results/tiny/logs/0.log", capsys.readouterr().out)
    text = shown(run_status(plan))
    assert (
        "  row 30 of 40 (75%), " in text
        and " rows/s, 0 s left: [###############.....] 30 rows, 0 of 2 episodes\n" in text
    )


def test_a_failure_shows_its_cause_its_log_and_what_waits_for_it(folder: Folder) -> None:
    plan = folder.plan(
        job(0, attempts=2), job(1, "relabel_episodes", needs=[0]), job(2, "train_policy", needs=[1]), job(3, needs=[])
    )
    folder.write("results/tiny/logs/0.log", "Traceback\n  File\nValueError: no episodes\n")
    folder.note(failed(0, exit_status=1), started(0), failed(0, exit_status=1))
    text = shown(run_status(plan))
    assert f"  train_lam {ENV} lapo seed 0: attempt 2 failed (exit status 1)\n" in text
    assert "    results/tiny/logs/0.log ends with\n      ValueError: no episodes\n" in text
    assert "Jobs that wait for these and will not be started: 2." in text


def test_a_failure_without_a_log_of_this_run_is_still_shown(folder: Folder) -> None:
    plan = folder.plan(job(0), **DEAD)
    folder.write("results/tiny/logs/0.log", "ValueError: of an earlier run\n", minutes_ago=60)
    folder.note(failed(0))
    assert f"train_lam {ENV} lapo seed 0: attempt 1 failed\n    There is no log of it." in shown(run_status(plan))


def test_retried_jobs_say_why_and_where_they_are(folder: Folder) -> None:
    plan = folder.plan(job(0, local=False, attempts=2))
    message = "SLURM-job '9' failed, SLURM status is: 'OUT_OF_MEMORY'. For further error details see the logs"
    once = [*submitted(0, 9), failed(0, message, slurm_state="OUT_OF_MEMORY")]
    folder.note(*once)
    assert "attempt 1 ran out of memory; it will be tried again" in shown(run_status(plan, lambda _: []))
    folder.note(*once, *submitted(0, 10))
    run = run_status(plan, lambda _: [folder.queued(10, "RUNNING")])
    assert "attempt 1 ran out of memory; it runs again" in shown(run)


def test_jobs_that_slurm_will_not_start_as_asked_are_named_with_a_remedy(folder: Folder) -> None:
    plan = folder.plan(*(job(number, local=False) for number in range(3)))
    folder.note(*(event for number in range(3) for event in submitted(number, 10 + number)))
    queue = [
        folder.queued(10, reason="PartitionTimeLimit"),
        folder.queued(11, reason="PartitionTimeLimit"),
        folder.queued(12),
    ]
    text = shown(run_status(plan, lambda _: queue))
    assert "Slurm's reasons: 2 PartitionTimeLimit, 1 Priority" in text
    assert (
        "Slurm jobs 10, 11 will not start (PartitionTimeLimit): more time is asked for than the partition allows"
        in text
    )
    assert "12 will not start" not in text


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("AssocMaxWallDurationPerJobLimit", "one job asks for more"),
        ("QOSMaxGRESPerJob", "one job asks for more"),
        ("AssocGrpCPUMinutesLimit", "budget"),
        ("QOSGrpGRESRunMinutes", "budget"),
        ("BadConstraints", "no node"),
        ("ReqNodeNotAvail, Reserved for maintenance", "reservation"),
        ("(ReqNodeNotAvail, UnavailableNodes:n[1-4])", "reservation"),
        ("launch failed requeued held", "administrators"),
    ],
)
def test_reasons_that_need_somebody_to_act_have_a_remedy(reason: str, advice: str) -> None:
    assert advice in (remedy(reason) or "")


@pytest.mark.parametrize(
    "reason", ["None", "Priority", "Resources", "QOSMaxJobsPerUserLimit", "AssocGrpGRES", "Licenses", ""]
)
def test_reasons_that_pass_by_themselves_have_none(reason: str) -> None:
    assert remedy(reason) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "1 h 00 min"), (7500, "2 h 05 min"), (3 * 86400, "3 d 0 h")],
)
def test_durations_have_two_places(seconds: float, text: str) -> None:
    assert duration(seconds) == text


# The end of a run -----------------------------------------------------------------------------------------------------


def test_a_finished_run_says_so(folder: Folder) -> None:
    plan = folder.plan(job(0))
    folder.note(finished(0), {"event": "ended"})
    assert shown(run_status(plan)).endswith("Everything is done.")


def test_a_run_that_ended_with_failures_can_be_started_again(folder: Folder) -> None:
    plan = folder.plan(job(0))
    folder.note(failed(0), {"event": "ended"})
    assert "Snakemake has ended. Start it again with the same command" in shown(run_status(plan))


def test_a_run_that_is_being_stopped_says_so(folder: Folder) -> None:
    plan = folder.plan(job(0))
    folder.note(started(0), {"event": "stopping"})
    assert shown(run_status(plan)).endswith("is alive, and stops as it was asked to.")


def test_a_run_without_events_says_what_it_is_guessed_from(folder: Folder) -> None:
    plan = folder.plan(job(0), job(1))
    folder.write("results/tiny/train_lam/0")
    folder.path.joinpath(EVENTS).unlink()
    run = run_status(plan)
    assert states(run) == [State.DONE, State.WAITING]
    assert (
        f"{EVENTS} cannot be read: what runs and what has failed is guessed from files and from Slurm's queue."
        in shown(run)
    )


def test_a_crash_is_quoted_and_the_same_command_goes_on_whatever_lock_is_left(folder: Folder) -> None:
    plan = folder.plan(job(0), **DEAD)
    folder.log.write_text("Traceback (most recent call last):\nNotADirectoryError: [Errno 20] Not a directory: 'x'\n")
    folder.write(".snakemake/locks/0.input.lock")
    text = shown(run_status(plan))
    assert ".snakemake/log/run.log ends with NotADirectoryError: [Errno 20] Not a directory: 'x'" in text
    assert "To go on: the same command as before." in text


# The command ----------------------------------------------------------------------------------------------------------


def test_the_command_shows_the_newest_run_of_the_folder(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.plan(job(0))
    folder.write("results/old/plan.json", "{}", minutes_ago=5)
    monkeypatch.chdir(folder.path)
    assert main([]) == 0
    assert capsys.readouterr().out.startswith("results/tiny: 0 of 1 jobs done")


def test_the_command_shows_all_runs_that_go_on(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    newest = folder.plan(job(0), **DEAD).model_dump_json()
    folder.write("results/dead/plan.json", newest, minutes_ago=4)
    folder.write("results/living/plan.json", folder.plan(job(0), job(1)).model_dump_json(), minutes_ago=3)
    folder.write("results/tiny/plan.json", newest)
    monkeypatch.chdir(folder.path)
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert [line for line in shown.splitlines() if line.startswith("results/")] == [
        line for line in shown.splitlines() if " jobs done, " in line
    ]
    living, tiny = shown.split("\n\n\n")
    assert living.startswith("results/living: 0 of 2 jobs done") and living.endswith("is alive.")
    assert tiny.startswith("results/tiny: 0 of 1 jobs done") and "is dead" in tiny


def test_watching_ends_with_the_run(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    folder.plan(job(0), **DEAD)
    assert main([str(folder.results), "--watch", "1"]) == 0
    assert "\033" not in capsys.readouterr().out


def test_a_copied_folder_is_said_to_be_one(folder: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder.plan(job(0), **DEAD)
    copy = folder.write("copy/results/tiny/plan.json", (folder.results / "plan.json").read_text())
    assert main([str(copy.parent)]) == 0
    assert f"This plan is of a run in {folder.path}, not of one in {tmp_path / 'copy'}" in capsys.readouterr().out


def test_the_command_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([]) == 2
    assert "no run has been started here" in capsys.readouterr().err
    assert main(["results/tiny"]) == 2
    assert "results/tiny: no such folder" in capsys.readouterr().err
