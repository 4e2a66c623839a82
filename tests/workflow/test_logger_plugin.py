"""Snakemake's logger plugin `lamflow`: every run notes its events, and unreadable configuration files are refused early."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SRC = Path(__file__).parents[2] / "src"
SNAKEFILE = """
from pathlib import Path
from lamflow.runs import events
from snakemake_logger_plugin_lamflow import listen

onstart:
    events.begin(Path())
    listen(workflow.logger_manager, events.note_record)

onerror:
    events.note("ended")

rule all:
    input: "good", "bad", "absent"

rule good:
    output: "good"
    shell: "touch {output}"

rule bad:
    output: "bad"
    log: "bad.log"
    retries: 1
    shell: "exit 3"

rule absent:
    output: "absent"
    shell: "true"
"""
WITHOUT_LAMFLOW = """
import sys
sys.path[:] = [path for path in sys.path if not path.endswith("src")]
from snakemake.cli import main
main(sys.argv[1:])
"""
LATIN = "seeds: [0]  # première\n".encode("latin-1")
NESTED = "\n".join(["a0: &a0 {b: 0}", *(f"a{n}: &a{n} {{b: *a{n - 1}, c: *a{n - 1}}}" for n in range(1, 31))]).encode()

NO_UTF8 = "bad.yaml, line 1, byte 20: found the byte 0xe8, which is no UTF-8: save the file as UTF-8"
TOO_MUCH = "aliases make 1.29e+10 values of the few that are written; expected at most 100,000"


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [(), ("--logger=lamflow",), ("--quiet", "all"), ("--logger=lamflow", "--quiet", "rules")],
    ids=lambda options: " ".join(options) or "plain",
)
def test_events_of_all_jobs_are_noted_however_snakemake_is_called(options: tuple[str, ...], tmp_path: Path) -> None:
    tmp_path.joinpath("Snakefile").write_text(SNAKEFILE)
    command = [sys.executable, "-m", "snakemake", "--cores=1", "--keep-going", "--latency-wait=1", *options]
    run = subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(SRC)}, check=False)
    assert run.returncode == 1
    (path,) = tmp_path.glob("events/*.jsonl")
    noted = [json.loads(line) for line in path.read_text().splitlines()]
    rules = {event["job"]: event["rule"] for event in noted if event["event"] == "started"}

    def told(kind: str) -> list[tuple[str, Any]]:
        events = [event for event in noted if event["event"] == kind]
        return sorted((rules[event["job"]], event.get("exit_status")) for event in events)

    assert told("started") == [("absent", None), ("bad", None), ("bad", None), ("good", None)]
    assert told("failed") == [("absent", None), ("bad", 3), ("bad", 3)]
    assert told("finished") == [("good", None)]
    assert noted[0]["event"] == "began" and "ended" in [event["event"] for event in noted]
    assert [event["logs"] for event in noted if event.get("exit_status")] == [["bad.log"]] * 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "content", "problem"),
    [
        (("--configfile=bad.yaml",), LATIN, NO_UTF8),
        (("--configfiles", "config/tiny.yaml", "bad.yaml", "--forceall"), NESTED, TOO_MUCH),
        (("--profile=mine",), LATIN, NO_UTF8),
    ],
    ids=["one", "the second of two", "a profile's"],
)
def test_an_unreadable_configuration_file_is_refused_before_snakemake_reads_it(
    options: tuple[str, ...],
    content: bytes,
    problem: str,
    checkout: Path,
    snakemake: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    checkout.joinpath("bad.yaml").write_bytes(content)
    checkout.joinpath("mine").mkdir()
    checkout.joinpath("mine", "config.yaml").write_text("configfile: bad.yaml\n")
    result = snakemake(checkout, "--dry-run", *options)
    assert result.returncode == 1
    assert problem in result.stdout and "Traceback" not in result.stdout
    assert len(result.stdout.splitlines()) <= 5


@pytest.mark.slow
def test_a_checkout_runs_where_lamflow_is_not_installed(checkout: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_LAMFLOW, "--cores=1", "--dry-run", "--configfile=config/tiny.yaml"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    assert "This was a dry-run" in run.stdout + run.stderr


@pytest.mark.slow
def test_a_copied_checkout_is_run_by_its_own_code(
    checkout: Path, snakemake: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    with checkout.joinpath("src/lamflow/yaml_files.py").open("a") as module:
        module.write("\n\ndef check_files(paths):\n    raise ValueError(f'checked by {__file__}')\n")
    result = snakemake(checkout, "--dry-run", "--configfile=config/tiny.yaml")
    assert result.returncode == 1
    assert f"Error: checked by {checkout}" in result.stdout
