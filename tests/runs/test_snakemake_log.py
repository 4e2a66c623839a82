"""Snakemake's log, read from excerpts of real ones (snakemake 9.27.1, snakemake-executor-plugin-slurm 2.8.0)."""

from __future__ import annotations

from pathlib import Path

from lamflow.runs.snakemake_log import Event, RunLog, parse_log, read_log

LOCAL = """\
Select jobs to execute...
Execute 1 jobs...
[Sat Nov 21 19:07:04 2026]
Job 1: Episodes of xland-r1-9x9, train split
Reason: Missing output files: results/tiny/data/xland-r1-9x9/train.zarr
Select jobs to execute...
[Sat Nov 21 19:07:10 2026]
Finished jobid: 1 (Rule: collect_episodes)
2 of 6 steps (33%) done
Execute 1 jobs...
[Sat Nov 21 19:07:43 2026]
Job 0: Latent action model lapo on xland-r1-9x9, seed 0
Reason: Missing output files: results/tiny/lam/xland-r1-9x9/lapo/seed0/model.safetensors
RuleException:
CalledProcessError in file "/run/workflow/rules/lam.smk", line 29:
Command 'set -euo pipefail;  /work/.venv/bin/python /run/.snakemake/scripts/tmpzzft9ip5.train_lam.py' returned non-zero exit status 1.
[Sat Nov 21 19:07:46 2026]
Error in rule train_lam:
    message: None
    jobid: 0
    input: results/tiny/data/xland-r1-9x9/train.zarr, results/tiny/data/xland-r1-9x9/validation.zarr
    output: results/tiny/lam/xland-r1-9x9/lapo/seed0/model.safetensors, results/tiny/lam/xland-r1-9x9/lapo/seed0/metrics.csv
    log: results/tiny/logs/train_lam/xland-r1-9x9/lapo/seed0.log (check log file(s) for error details)
"""
RETRY = """\
Trying to restart job 0.
Select jobs to execute...
"""
END = """\
Exiting because a job execution failed. Look above for error messages
Complete log(s): /run/.snakemake/log/2026-11-21T190742.772819.snakemake.log
Elapsed time: 0:00:07.603944
"""
SLURM = """\
[Sat Nov 21 19:10:58 2026] Group job chain (jobs in lexicogr. order):
    [Sat Nov 21 19:10:58 2026]
    Job 0: Latent actions by lapo on xland-r1-9x9, seed 0, train split
    Reason: Missing output files: results/tiny/latents/xland-r1-9x9/lapo/seed0/train.zarr
    [Sat Nov 21 19:10:58 2026]
    Job 1: Latent action model lapo on xland-r1-9x9, seed 0
    Reason: Missing output files: results/tiny/lam/xland-r1-9x9/lapo/seed0/model.safetensors
[Sat Nov 21 19:10:58 2026]
Job 5: Episodes of xland-doorkey-5x5-full, validation split
Reason: Missing output files: results/tiny/data/xland-doorkey-5x5-full/validation.zarr
Job 5 has been submitted with SLURM jobid 3 (log: /run/logs/slurm/3.log).
Job 5b0591af-5d09-577e-bc49-9e8169ae7f75 has been submitted with SLURM jobid 4 (log: /run/logs/slurm/group_chain/4.log).
"""
SLURM_FAILURES = """\
[Sat Nov 21 19:11:16 2026]
Error in rule collect_episodes:
    message: SLURM-job '3' failed, SLURM status is: 'CANCELLED'. Detailed failure reason unavailable
    jobid: 5
    input: results/tiny/experts/xland-doorkey-5x5-full/expert.safetensors
    output: results/tiny/data/xland-doorkey-5x5-full/validation.zarr
    log: results/tiny/logs/collect_episodes/validation.log, /run/logs/slurm/3.log (check log file(s) for error details)
    external_jobid: 3
[Sat Nov 21 19:11:16 2026]
    message: Error in group chain
    log: /run/logs/slurm/group_chain/4.log (check log file(s) for error details)
    jobs:
        rule train_lam:
            jobid: 1
            output: results/tiny/lam/xland-r1-9x9/lapo/seed0/model.safetensors, results/tiny/lam/xland-r1-9x9/lapo/seed0/metrics.csv
            log: results/tiny/logs/train_lam/xland-r1-9x9/lapo/seed0.log (check log file(s) for error details)
    [Sat Nov 21 19:11:16 2026]
    Error in rule relabel_episodes:
        message: None
        jobid: 0
        output: results/tiny/latents/xland-r1-9x9/lapo/seed0/train.zarr
        log: results/tiny/logs/relabel_episodes/xland-r1-9x9/lapo/seed0/train.log (check log file(s) for error details)
    [Sat Nov 21 19:11:16 2026]
    Error in rule train_lam:
        message: None
        jobid: 1
        output: results/tiny/lam/xland-r1-9x9/lapo/seed0/model.safetensors, results/tiny/lam/xland-r1-9x9/lapo/seed0/metrics.csv
        log: results/tiny/logs/train_lam/xland-r1-9x9/lapo/seed0.log (check log file(s) for error details)
Trying to restart job 5.
Trying to restart job 5b0591af-5d09-577e-bc49-9e8169ae7f75.
"""
GROUP = "5b0591af-5d09-577e-bc49-9e8169ae7f75"
NAMES = {0: GROUP, 1: GROUP, 5: "5"}


def parsed(text: str, names: dict[int, str] | None = None) -> RunLog:
    return parse_log(text.splitlines(keepends=True), {0: "0", 1: "1"} if names is None else names)


def last_events(log: RunLog) -> dict[int, Event | None]:
    return {number: job.last for number, job in log.jobs.items()}


def test_local_jobs_start_finish_and_fail_with_an_exit_status() -> None:
    log = parsed(LOCAL)
    assert last_events(log) == {0: Event.FAILED, 1: Event.FINISHED}
    (failure,) = log.jobs[0].failures
    assert failure.message == "exit status 1"
    assert failure.logs == [Path("results/tiny/logs/train_lam/xland-r1-9x9/lapo/seed0.log")]
    assert not log.ended


def test_a_retried_job_keeps_its_failures() -> None:
    assert last_events(parsed(LOCAL + RETRY))[0] is Event.RESTARTED
    log = parsed(LOCAL + RETRY + LOCAL + END)
    assert last_events(log)[0] is Event.FAILED
    assert len(log.jobs[0].failures) == 2
    assert log.ended


def test_slurm_jobs_are_known_by_the_names_that_they_are_submitted_under() -> None:
    log = parsed(SLURM, NAMES)
    assert {name: submission.slurm_id for name, submission in log.submissions.items()} == {"5": "3", GROUP: "4"}
    assert log.submissions[GROUP].log == Path("/run/logs/slurm/group_chain/4.log")
    assert set(last_events(log).values()) == {Event.STARTED}


def test_a_failed_group_fails_all_of_its_jobs() -> None:
    log = parsed(SLURM + SLURM_FAILURES, NAMES)
    assert last_events(log) == dict.fromkeys((0, 1, 5), Event.RESTARTED)
    assert log.jobs[5].failures[0].slurm_state == "CANCELLED"
    assert [str(path.name) for path in log.jobs[5].failures[0].logs] == ["validation.log", "3.log"]
    assert [len(log.jobs[number].failures) for number in (0, 1)] == [1, 1]


def test_a_job_that_starts_again_is_no_longer_the_slurm_job_it_was() -> None:
    log = parsed(SLURM + SLURM_FAILURES + "Job 5: Episodes of xland-doorkey-5x5-full, validation split\n", NAMES)
    assert "5" not in log.submissions


def test_missing_outputs_fail_a_job() -> None:
    text = "Job 1 completed successfully, but some output files are missing. Missing files after 5 seconds.\n"
    assert last_events(parsed(text)) == {1: Event.FAILED}


def test_unknown_lines_and_a_missing_log_say_nothing(tmp_path: Path) -> None:
    garbled = parsed("Error in rule\n    jobid: x\n\x00\xff Job\nFinished jobid: (Rule\nTrying to restart job 77.\n")
    assert not garbled.jobs and not garbled.submissions
    assert not read_log(tmp_path / "absent.log", {}).jobs
