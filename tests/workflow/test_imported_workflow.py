"""Another workflow imports this one (`module lamflow:`), the working directory is another folder, and the checkout cannot be written."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from lamflow.experiment.reading import load_experiment, read_experiment
from lamflow.runs.costs import rules_with_costs
from lamflow.runs.rates import read_rates
from lamflow.runs.scope import Scope

ROOT = Path(__file__).parents[2]
CONFIGURED = 'configfile: "config/mine.yaml"\n\n'
MODULE = """
module lamflow:
    snakefile: "{snakefile}"
    config: config
"""
USED, RENAMED = "\nuse rule * from lamflow\n", "\nuse rule * from lamflow as other_*\n"
HOOKS = """
onstart:
    lamflow.onstart()

onsuccess:
    lamflow.onsuccess()

onerror:
    lamflow.onerror()
"""
EXPERT = "results/tiny/experts/xland-r1-9x9/expert.safetensors"
READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" "$0" && exec "$@"'

Run = Callable[..., subprocess.CompletedProcess[str]]
Importer = Callable[..., Path]


def files_of(folder: Path) -> dict[str, tuple[int, int]]:
    """Sizes and times of change of all that lies there, but for the byte code that Python keeps where it may."""
    found = [path for path in folder.rglob("*") if "__pycache__" not in path.parts]
    return {str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns) for path in found}


@pytest.fixture
def importer(tmp_path: Path, checkout: Path) -> Importer:
    """Writes a workflow of another folder that imports the checkout, with config/tiny.yaml as its own configuration."""

    def write(*parts: str) -> Path:
        folder = tmp_path / "another project"
        folder.joinpath("config").mkdir(parents=True, exist_ok=True)
        shutil.copy(checkout / "config" / "tiny.yaml", folder / "config" / "mine.yaml")
        folder.joinpath("Snakefile").write_text("".join(parts).format(snakefile=checkout / "workflow" / "Snakefile"))
        return folder

    return write


def planned_counts(output: str) -> dict[str, int]:
    """The jobs of each rule in Snakemake's own table."""
    table = output.split("Job stats:")[1].split("\n\n")[0]
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", table, flags=re.MULTILINE)}


def estimated(output: str) -> dict[str, list[str]]:
    """What the estimate says of each rule."""
    rows = output.split("Estimate of the planned jobs:")[1].splitlines()[3:]
    return {row.split()[0]: row.split()[1:] for row in rows if re.match(r"\w+ +\d", row)}


def dry_run(run: Run, folder: Path, *arguments: str) -> str:
    result = run(folder, "--dry-run", "--quiet=rules", *arguments)
    assert result.returncode == 0, result.stdout[-3000:]
    return result.stdout


@pytest.mark.whole
@pytest.mark.parametrize("use", [USED, RENAMED], ids=["own names", "other names"])
def test_a_job_runs_through_a_workflow_that_imports_this_one(
    use: str, importer: Importer, checkout: Path, snakemake: Run
) -> None:
    before, folder = files_of(checkout), importer(CONFIGURED, MODULE, use)
    result = snakemake(folder, "--show-failed-logs", "--", EXPERT)
    assert result.returncode == 0, result.stdout[-4000:]
    assert f"{'other_' if use == RENAMED else ''}train_expert" in planned_counts(result.stdout)
    assert (
        folder.joinpath(EXPERT).exists() and folder.joinpath("results/tiny/logs/train_expert/xland-r1-9x9.log").exists()
    )
    assert files_of(checkout) == before
    assert "Nothing to be done" in dry_run(snakemake, folder, "--", EXPERT)


@pytest.mark.whole
def test_renamed_rules_plan_and_ask_for_what_they_do_here(importer: Importer, checkout: Path, snakemake: Run) -> None:
    here = dry_run(snakemake, checkout, "--configfile=config/tiny.yaml")
    there = dry_run(snakemake, importer(CONFIGURED, MODULE, RENAMED))
    assert planned_counts(there) == {
        name if name == "total" else f"other_{name}": count for name, count in planned_counts(here).items()
    }
    costs = estimated(there)
    assert len(costs) > 20
    assert {name.removeprefix("other_"): row for name, row in costs.items()} == estimated(here)
    assert "localrules directive" not in there


def test_the_names_that_are_looked_up_are_those_of_rules() -> None:
    scope = Scope(read_experiment(ROOT / "config" / "tiny.yaml"), read_rates(ROOT / "config" / "rates.yaml"))
    rules = "\n".join(path.read_text() for path in ROOT.joinpath("workflow", "rules").glob("*.smk"))
    assert rules_with_costs(scope) <= set(re.findall(r"^rule (\w+):", rules, flags=re.MULTILINE))


@pytest.mark.whole
def test_a_renamed_rule_may_be_changed(importer: Importer, snakemake: Run) -> None:
    change = "\nuse rule train_lam from lamflow as other_train_lam with:\n    threads: 2\n"
    plain = estimated(dry_run(snakemake, importer(CONFIGURED, MODULE, RENAMED)))["other_train_lam"]
    changed = estimated(dry_run(snakemake, importer(CONFIGURED, MODULE, RENAMED, change)))["other_train_lam"]
    assert changed[4] == plain[4], "the memory is that of a training"
    assert float(changed[3]) > 1.5 * float(plain[3]), "core hours, of two cores"


@pytest.mark.whole
def test_two_experiments_stand_side_by_side(importer: Importer, snakemake: Run) -> None:
    second = """
module second:
    snakefile: "{snakefile}"
    config: dict(config, experiment="second", seeds=[5])

use rule * from second as second_*

rule both:
    default_target: True
    input: rules.other_all.input, rules.second_all.input
"""
    folder = importer(CONFIGURED, MODULE, RENAMED, second)
    counts = planned_counts(dry_run(snakemake, folder, "both"))
    assert counts["other_train_lam"] == 2 * counts["second_train_lam"] > 0
    assert planned_counts(dry_run(snakemake, folder)) == counts, (
        "a default target of the importer comes before the module's"
    )


@pytest.mark.whole
def test_two_experiments_on_the_same_published_data_share_a_download(
    importer: Importer, checkout: Path, snakemake: Run
) -> None:
    second = """
module second:
    snakefile: "{snakefile}"
    config: dict(config, experiment="second")

use rule * from second exclude download_lapo, download_dgrl as second_*
"""
    targets = [f"results/{name}/data/procgen-chaser/test.zarr" for name in ("paper", "second")]
    folder = importer(CONFIGURED, MODULE, RENAMED, second)
    shutil.copy(checkout / "config" / "paper.yaml", folder / "config" / "mine.yaml")
    counts = planned_counts(dry_run(snakemake, folder, *targets))
    assert counts == {"other_download_lapo": 1, "other_import_lapo": 1, "second_import_lapo": 1, "total": 3}


@pytest.mark.whole
def test_a_module_without_a_configuration_is_the_quickstart(importer: Importer, checkout: Path, snakemake: Run) -> None:
    folder = importer(MODULE.replace("    config: config\n", ""), USED)
    assert planned_counts(dry_run(snakemake, folder)) == planned_counts(dry_run(snakemake, checkout))
    refused = snakemake(folder, "--dry-run", "--configfile=config/mine.yaml")
    assert refused.returncode != 0 and "module lamflow: with --configfile it needs `config: config`" in refused.stdout


@pytest.mark.whole
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("    config: dict(config, sedes=[0])", "module lamflow: 1 problem(s)\n  sedes: unknown key"),
        ('    config: config\n    prefix: "mine"', "`prefix` and `replace_prefix` would move the outputs of the rules"),
        ("    config: config\n    replace_prefix: dict(results='mine')", "`prefix` and `replace_prefix` would move"),
    ],
    ids=["unknown key", "prefix", "replace_prefix"],
)
def test_what_a_module_cannot_be_told_is_refused(change: str, message: str, importer: Importer, snakemake: Run) -> None:
    folder = importer(CONFIGURED, MODULE.replace("    config: config", change), USED)
    result = snakemake(folder, "--dry-run")
    assert result.returncode != 0 and message in result.stdout and "Traceback" not in result.stdout


@pytest.mark.whole
def test_two_checkouts_in_one_workflow_are_refused(
    importer: Importer, copied: Callable[[Path], Path], tmp_path: Path, snakemake: Run
) -> None:
    other = copied(tmp_path / "other checkout")
    second = MODULE.replace("lamflow", "second").replace("{snakefile}", str(other / "workflow" / "Snakefile"))
    result = snakemake(
        importer(CONFIGURED, MODULE, USED, second, "\nuse rule * from second as second_*\n"), "--dry-run"
    )
    assert result.returncode != 0 and f"{other}: this process has imported lamflow from" in result.stdout


GIT_AS = {
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@b.c",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@b.c",
}


@pytest.mark.whole
@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_a_release_that_snakemake_fetches_from_github_runs_jobs(
    importer: Importer, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, snakemake: Run
) -> None:
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"], ["tag", "-a", "v1", "-m", "first"]):
        subprocess.run(["git", *arguments], cwd=checkout, env=os.environ | GIT_AS, check=True)
    subprocess.run(["git", "clone", "-q", "--bare", checkout, tmp_path / "hub" / "someone" / "lamflow"], check=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # Where git looks in place of the real one.
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.{(tmp_path / 'hub').as_uri()}/.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "https://github.com/")
    release = 'github("someone/lamflow", path="workflow/Snakefile", tag="v1")'
    folder = importer(CONFIGURED, MODULE.replace('"{snakefile}"', release), USED)
    shutil.rmtree(checkout)
    result = snakemake(folder, "--show-failed-logs", "--", EXPERT)
    assert result.returncode == 0, result.stdout[-4000:]
    (unpacked,) = tmp_path.joinpath("cache", "lamflow", "checkouts").iterdir()
    assert unpacked.joinpath("resources/experts/procgen-coinrun/expert.safetensors").exists()


@pytest.mark.whole
@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_a_snakefile_without_its_checkout_is_refused(importer: Importer, checkout: Path, snakemake: Run) -> None:
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"], ["tag", "v1"]):
        subprocess.run(["git", *arguments], cwd=checkout, env=os.environ | GIT_AS, check=True)
    alone = f'"git+file://{checkout}/workflow/Snakefile@v1"'
    result = snakemake(importer(CONFIGURED, MODULE.replace('"{snakefile}"', alone), USED), "--dry-run")
    assert result.returncode != 0 and "the rules need the package and the data of their checkout" in result.stdout


@pytest.mark.whole
def test_locks_of_an_importing_workflow_are_left_to_it(importer: Importer, snakemake: Run) -> None:
    folder = importer(CONFIGURED, MODULE, USED)
    lock = folder / ".snakemake" / "locks" / "0.output.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text(f"{EXPERT}\n")
    result = snakemake(folder, "--", EXPERT)
    assert lock.exists() and "LockException" in result.stdout


@pytest.mark.whole
def test_an_importing_workflow_may_call_the_hooks(importer: Importer, snakemake: Run) -> None:
    folder = importer(CONFIGURED, MODULE, USED, HOOKS)
    result = snakemake(folder, "--show-failed-logs", "--", EXPERT)
    assert result.returncode == 0, result.stdout[-4000:]
    progress = [sys.executable, "-m", "lamflow.runs.progress", "results/tiny"]
    told = subprocess.run(progress, cwd=folder, capture_output=True, text=True, check=True)
    assert "1 of 1 jobs done" in told.stdout and "Everything is done." in told.stdout


@pytest.mark.whole
def test_results_go_to_the_working_directory_and_nothing_to_the_checkout(
    checkout: Path, tmp_path: Path, snakemake: Run
) -> None:
    before, elsewhere = files_of(checkout), tmp_path / "elsewhere"
    tiny = str(checkout / "config" / "tiny.yaml")
    options = (
        "--snakefile",
        str(checkout / "workflow" / "Snakefile"),
        "--configfile",
        tiny,
        "--directory",
        str(elsewhere),
    )
    result = snakemake(tmp_path, *options, "--show-failed-logs", "--", EXPERT)
    assert result.returncode == 0, result.stdout[-4000:]
    assert elsewhere.joinpath(EXPERT).exists()
    assert files_of(checkout) == before


def can_mount(folder: Path) -> bool:
    """Whether this machine lets a process see ``folder`` as a read-only file system, as root and others may with their own namespaces."""
    command = [
        "unshare",
        "--mount",
        "--map-root-user",
        "sh",
        "-c",
        READ_ONLY,
        str(folder),
        "touch",
        str(folder / "new"),
    ]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return False
    return "Read-only file system" in result.stderr


@pytest.mark.whole
def test_a_checkout_on_a_read_only_file_system_runs_jobs(importer: Importer, checkout: Path) -> None:
    if not can_mount(checkout):
        pytest.skip("mounts need a Linux that lets this user have namespaces")
    folder = importer(CONFIGURED, MODULE, RENAMED)
    command = ["-m", "snakemake", "--cores", "2", "--show-failed-logs", "--", EXPERT]
    result = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", READ_ONLY, checkout, sys.executable, *command],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=600,
    )
    assert result.returncode == 0, result.stdout[-4000:]
    assert folder.joinpath(EXPERT).exists()


def test_the_repository_has_what_the_workflow_catalog_asks_for() -> None:
    usage = yaml.safe_load(ROOT.joinpath(".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert usage["software-stack-deployment"]["conda"] and usage["report"]
    assert ROOT.joinpath("workflow", "Snakefile").exists()
    readme = ROOT.joinpath("config", "README.md").read_text()
    assert all(f"`{path.name}`" in readme for path in ROOT.joinpath("config").glob("*.yaml"))


def test_the_experiment_in_the_configurations_readme_is_one() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", ROOT.joinpath("config", "README.md").read_text(), flags=re.DOTALL)
    assert load_experiment(yaml.safe_load(text)).experiment == "mine"
