"""config/tiny.yaml from nothing to the report, on the real simulator."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from compared import rows_of

from lamflow.experiment.reading import read_experiment
from lamflow.runs.report import left_out

TINY = ("--configfile=config/tiny.yaml",)
EXPERIMENT = read_experiment(Path(__file__).parents[2] / "config" / "tiny.yaml")
COLUMNS = (
    "env,method,labels,label_draw,seed,policy_episodes,split,episodes,return_mean,return_std,normalized_return,normalized_return_cobbe,"
    "success_rate"
)


def test_the_summary_has_a_row_for_every_agent(tiny_run: Path) -> None:
    path = tiny_run / "results/tiny/summary/returns.csv"
    assert path.read_text().splitlines()[0] == COLUMNS
    found = {(row["env"], row["method"], row["seed"], row["labels"], row["label_draw"]) for row in rows_of(path)}
    wanted = sum(
        len(EXPERIMENT.seeds) * EXPERIMENT.num_agents(method)
        for env in EXPERIMENT.envs
        for method in EXPERIMENT.methods_of(env)
    )
    assert len(found) == len(rows_of(path)) == wanted
    assert {draw for _, method, _, _, draw in found if method == "lapo_codes"} == {"0"}, (
        "of which its LAM has seen labels"
    )
    assert all(int(row["episodes"]) == EXPERIMENT.evaluation.episodes for row in rows_of(path))


def test_the_tables_of_environments_and_seeds_are_parts_of_the_summary(tiny_run: Path) -> None:
    summary = tiny_run / "results/tiny/summary"
    rows = rows_of(summary / "returns.csv")
    for env in EXPERIMENT.envs:
        assert rows_of(summary / f"{env}.csv") == [row for row in rows if row["env"] == env]
        for seed in EXPERIMENT.seeds:
            part = [row for row in rows if row["env"] == env and row["seed"] == str(seed)]
            assert rows_of(summary / env / f"seed{seed}.csv") == part


def test_the_report_is_one_page_with_every_plot(tiny_run: Path) -> None:
    page = tiny_run.joinpath("results/tiny/report.html").read_text()
    plots = [path for path in tiny_run.joinpath("results/tiny/plots").rglob("*.*") if path.suffix != ".json"]
    assert len(plots) >= 8
    assert [path for path in plots if path.name not in page] == []


def test_every_artefact_has_its_provenance_beside_it(tiny_run: Path) -> None:
    results = tiny_run / "results/tiny"
    artefacts = [*results.rglob("*.safetensors"), *results.rglob("*.zarr"), *results.rglob("returns.csv")]
    lacking = [path for path in artefacts if path.parent.name != "summary" and not path.with_suffix(".json").exists()]
    assert lacking == []
    record = json.loads((results / "lam/xland-doorkey-5x5-full/lapo/seed0/model.json").read_text())
    assert {"settings", "seed", "inputs", "code_digest", "packages", "wall_seconds", "device", "precision"} <= set(
        record
    )


def test_every_job_left_a_log_and_a_benchmark_within_its_memory(tiny_run: Path) -> None:
    results = tiny_run / "results/tiny"
    benchmarks = sorted(results.joinpath("benchmarks").rglob("*.jsonl"))
    logs = sorted(results.joinpath("logs").rglob("*.log"))
    names = [path.relative_to(results / "benchmarks").with_suffix("") for path in benchmarks]
    assert names == [path.relative_to(results / "logs").with_suffix("") for path in logs]
    for path in benchmarks:
        record = json.loads(path.read_text().splitlines()[0])
        assert record["s"] > 0
        assert (record["max_rss"] or 0) < 3000, f"{path}: {record['max_rss']} MB"


@pytest.mark.slow
def test_nothing_is_to_be_done_afterwards(tiny_run: Path, planned: Callable) -> None:
    assert planned(tiny_run, *TINY) == []


def flip_a_bit(store: Path) -> None:
    chunk = max(
        (path for path in store.rglob("*") if path.is_file() and "observation" in path.parts),
        key=lambda p: p.stat().st_size,
    )
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 4
    chunk.write_bytes(content)


def remove_the_end(store: Path) -> None:
    chunk = next(
        path for path in sorted(store.joinpath("actions").rglob("*")) if path.is_file() and path.suffix != ".json"
    )
    chunk.write_bytes(chunk.read_bytes()[:-8])


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage", [flip_a_bit, remove_the_end, shutil.rmtree], ids=["bit flipped", "truncated", "missing"]
)
def test_a_damaged_store_stops_the_job_that_reads_it_and_is_named(
    damage: Callable[[Path], object], finished: Path, snakemake: Callable
) -> None:
    store = finished / "results/tiny/data/xland-doorkey-5x5-full/train.zarr"
    damage(store)
    if not store.exists():
        store.mkdir()
    model = "results/tiny/lam/xland-doorkey-5x5-full/lapo/seed0/model.safetensors"
    finished.joinpath(model).unlink()
    # `--rerun-triggers` leaves out time and content: the store is taken for the finished one that it was.
    result = snakemake(finished, "--rerun-triggers=params", *TINY, "--", model)
    assert result.returncode != 0
    assert "train_lam: " in result.stdout and "train.zarr" in result.stdout.split("train_lam: ", 1)[1]
    assert "Traceback" not in result.stdout
    assert not finished.joinpath(model).exists()


@pytest.mark.slow
def test_a_store_of_another_environment_is_refused(finished: Path, snakemake: Callable) -> None:
    data = finished / "results/tiny/data"
    shutil.rmtree(data / "xland-doorkey-5x5-full/train.zarr")
    shutil.copytree(data / "xland-r1-9x9/train.zarr", data / "xland-doorkey-5x5-full/train.zarr")
    model = "results/tiny/lam/xland-doorkey-5x5-full/lapo/seed0/model.safetensors"
    finished.joinpath(model).unlink()
    result = snakemake(finished, "--rerun-triggers=params", *TINY, "--", model)
    assert result.returncode != 0
    message = result.stdout.split("train_lam: ", 1)[1]
    assert "xland-r1-9x9" in message and "xland-doorkey-5x5-full" in message


@pytest.mark.slow
def test_more_labels_than_the_data_holds_are_refused_by_the_stage(finished: Path, snakemake: Callable) -> None:
    target = "results/tiny/decoders/xland-doorkey-5x5-full/vpt/seed0/decoders.safetensors"
    result = snakemake(finished, *TINY, "--config", "labels=[16, 5000]", "--", target)
    assert result.returncode != 0
    message = result.stdout.split("train_action_decoders: ", 1)[1].splitlines()[0]
    assert "5000" in message


@pytest.mark.whole
def test_one_broken_plot_is_missing_from_the_report_which_says_so_until_it_is_made(
    finished: Path, snakemake: Callable
) -> None:
    script = finished / "workflow/scripts/plot_latent_umap.py"
    sound = script.read_text()
    script.write_text(sound.replace("stages.plot_latent_umap", "stages.plot_latent_nothing"))
    report = finished / "results/tiny/report.html"
    umap = finished / "results/tiny/plots/xland-doorkey-5x5-full/latent_umap.svg"
    umap.unlink()
    report.unlink()
    arguments = (*TINY, "--keep-going", "--report", "results/tiny/report.html", "--report-after-run")
    result = snakemake(finished, *arguments)
    assert result.returncode != 0
    assert "made without what failed" in result.stdout
    page = report.read_text()
    assert "lam_curves.svg" in page and "This report is not complete" in page
    assert "plot_latent_umap" in page and "No module named" in page
    stale = "results/tiny/plots/xland-r1-9x9/latent_umap.svg"  # a changed script makes this one again, too
    assert stale in left_out(finished / "results/tiny")
    script.write_text(sound)
    assert snakemake(finished, *arguments).returncode == 0
    page = report.read_text()
    assert umap.exists() and "latent_umap.svg" in page and "This report is not complete" not in page
