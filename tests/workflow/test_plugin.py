"""A package of a user's, as docs/extending.md has it, runs through the whole pipeline, and an edit of it makes again what uses it."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from lamflow.experiment.experiment import Experiment
from lamflow.spaces import Pixels, Vector

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "extending.md"
SMALL = {"kind": "impala", "stem": "patch", "channels": [4, 4], "blocks": 0, "hidden_width": 16}
TRAINING = {"steps": 20, "batch_size": 8, "validate_every": 20}


def files_of_the_page() -> dict[str, str]:
    """The code blocks that stand below the name of a file."""
    found = re.findall(r"^`([\w/.]+)`:\n\n```\w+\n(.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    return dict(found)


def yaml_of_the_page(key: str) -> dict[str, object]:
    """The configuration block that begins with a key."""
    (block,) = re.findall(rf"^```yaml\n({key}:.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    parsed: dict[str, object] = yaml.safe_load(block)
    return parsed


def configuration() -> dict[str, object]:
    """What the page configures, at a size that takes a minute."""
    chosen = yaml_of_the_page("lams")
    lam = chosen["lams"]["mine"]
    lam |= {"inverse_dynamics": SMALL, "forward_dynamics": {"kind": "unet", "stem": "patch", "base_width": 4}}
    lam |= {"training": TRAINING}
    for method in chosen["methods"].values():
        method["policy"] = {"network": SMALL, "training": TRAINING}
    bc = {"kind": "bc", "policy": {"network": SMALL, "training": TRAINING}}
    return {
        "experiment": "acme",
        "envs": yaml_of_the_page("envs")["envs"],
        "seeds": [0],
        "labels": [16],
        "label_draws": 1,
        "collection": {
            "train_episodes": 6,
            "validation_episodes": 4,
            "test_episodes": 4,
            "reference_episodes": 4,
        },
        "lams": chosen["lams"],
        "methods": {**chosen["methods"], "bc": bc},
        "evaluation": {"episodes": 4},
    }


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The package, installed as a wheel in a folder of its own, outside the sources."""
    source, target = tmp_path_factory.mktemp("acme_source"), tmp_path_factory.mktemp("site")
    for name, text in files_of_the_page().items():
        source.joinpath(name).parent.mkdir(exist_ok=True)
        source.joinpath(name).write_text(text)
    source.joinpath("acme", "__init__.py").touch()
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target"]
    subprocess.run([*pip, str(target), str(source)], check=True)
    yield target


@pytest.fixture(scope="module")
def finished_with_plugin(
    installed: Path, copied: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A checkout in which the whole pipeline ran with the package."""
    checkout = copied(tmp_path_factory.mktemp("plugin") / "checkout")
    checkout.joinpath("config", "acme.yaml").write_text(yaml.safe_dump(configuration()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(installed))
        result = run(checkout, "--cores", "2")
    assert result.returncode == 0, result.stdout[-4000:]
    return checkout


def run(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "snakemake", "--nocolor", "--configfile=config/acme.yaml", *arguments]
    return subprocess.run(
        command, cwd=checkout, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=1500
    )


@pytest.fixture
def on_the_path(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", str(installed))
    return installed


def planned(checkout: Path) -> list[str]:
    result = run(checkout, "--dry-run")
    assert result.returncode == 0, result.stdout[-3000:]
    return re.findall(r"^Job \d+: (.*)$", result.stdout, flags=re.MULTILINE)


@pytest.mark.whole
@pytest.mark.xdist_group("plugin")
def test_the_pages_package_runs_through_the_whole_pipeline(finished_with_plugin: Path, on_the_path: Path) -> None:
    results = finished_with_plugin / "results" / "acme"
    table = results.joinpath("summary", "table.md").read_text()
    assert all(name in table for name in ("latent", "smoothed", "bc"))
    provenance = json.loads(results.joinpath("lam", "courier", "mine", "seed0", "model.json").read_text())
    assert provenance["packages"]["acme"] == "1.0"
    assert planned(finished_with_plugin) == []


@pytest.mark.whole
@pytest.mark.xdist_group("plugin")
@pytest.mark.parametrize(
    ("file", "old", "new", "made_again", "spared"),
    [
        (
            "sign.py",
            "latents >= 0",
            "latents > 0",
            ("Latent action model mine", "Policy of latent"),
            ("Episodes", "Policy of bc", "Policy of smoothed", "Rollouts of bc"),
        ),
        (
            "smoothed.py",
            "self.settings.smoothing)",
            "self.settings.smoothing / 2)",
            ("Policy of smoothed", "Rollouts of smoothed"),
            ("Episodes", "Latent action", "Policy of bc", "Policy of latent"),
        ),
        (
            "smoothed.py",
            "labelled_agent(job, action_selection)",
            "labelled_agent(job, 'argmax')",
            ("Policy of smoothed", "Rollouts of smoothed"),
            ("Policy of bc", "Policy of latent", "Latent action", "Episodes"),
        ),
        (
            "courier.py",
            "float(there)",
            "2 * float(there)",
            ("Episodes of courier", "Latent action model mine", "Rollouts of bc"),
            (),
        ),
        ("courier.py", "Who demonstrates", "Who shows the way", (), ("Episodes", "Latent", "Policy", "Rollouts")),
    ],
    ids=["quantiser", "learning", "acting", "environment", "docstring"],
)
def test_an_edit_of_the_package_makes_again_what_uses_it(
    file: str,
    old: str,
    new: str,
    made_again: tuple[str, ...],
    spared: tuple[str, ...],
    finished_with_plugin: Path,
    on_the_path: Path,
) -> None:
    path = on_the_path / "acme" / file
    before = path.read_text()
    assert old in before
    path.write_text(before.replace(old, new))
    try:
        jobs = planned(finished_with_plugin)
    finally:
        path.write_text(before)
    for start in made_again:
        assert any(job.startswith(start) for job in jobs), (start, jobs)
    assert not [job for job in jobs if spared and job.startswith(spared)]


def test_what_the_page_says_is_all_of_a_run_is_a_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = files_of_the_page()
    tmp_path.joinpath("acme").mkdir()
    tmp_path.joinpath("acme", "courier.py").write_text(files["acme/courier.py"])
    monkeypatch.syspath_prepend(tmp_path)
    experiment = Experiment.model_validate(yaml.safe_load(files["courier.yaml"]))
    assert dict(experiment.environment("courier").observation) == {"map": Pixels((64, 64, 3)), "pose": Vector((2,))}
    assert experiment.warnings() == []
    assert f"{len(files['acme/courier.py'].splitlines())} lines" in PAGE.read_text()
    assert f"{len(files['courier.yaml'].splitlines())} lines" in PAGE.read_text()


def test_the_quantiser_of_the_page_has_about_forty_lines() -> None:
    files = files_of_the_page()
    assert sum(len(files[name].splitlines()) for name in ("acme/sign_settings.py", "acme/sign.py")) <= 45
    assert len(files["acme/courier.py"].splitlines()) < 60
