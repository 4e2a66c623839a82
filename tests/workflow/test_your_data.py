"""The first page for people with recordings of their own: its configuration and its commands, on fewer clips and steps."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGE = ROOT.joinpath("docs", "your-data.md").read_text(encoding="utf-8")
CLIPS, LABELLED, FRAMES = 12, 6, 81
TRAINING = {"steps": 20, "batch_size": 16, "warmup_steps": 5, "log_every": 10, "validate_every": 20}

Snakemake = Callable[..., subprocess.CompletedProcess[str]]


def shown(first: str) -> str:
    """The only block of the page that begins so."""
    (block,) = re.findall(rf"^```\w*\n({first}.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
    return block.replace("\\\n", " ")


def in_small(configuration: str) -> str:
    settings = yaml.safe_load(configuration)
    (environment,) = settings["envs"][0].values()
    assert environment["kind"] == "recorded"
    for trained in (*settings["lams"].values(), *(method["policy"] for method in settings["methods"].values())):
        trained["training"] = TRAINING
    return yaml.safe_dump(settings)


@pytest.fixture(scope="module")
def finished_clips(
    copied: Callable[[Path], Path], snakemake: Snakemake, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A checkout in which the page's commands ran to the report."""
    checkout = copied(tmp_path_factory.mktemp("clips") / "checkout")
    shutil.copytree(ROOT / "examples", checkout / "examples")
    checkout.joinpath("examples", "clips.yaml").write_text(in_small(shown("experiment:")))
    clone, install, record, run, _ = shown("git clone").splitlines()
    assert clone.endswith("cd lamflow") and install == "make environment"

    sys.path.insert(0, str(checkout / "examples"))
    import toy_game

    _, _, *places = shlex.split(record)
    clips, table = (checkout / place for place in places)
    toy_game.write_game(clips, table, episodes=CLIPS, labelled=LABELLED, steps=FRAMES - 1)

    made = snakemake(checkout, *shlex.split(run)[3:])  # the cores are the test's
    assert made.returncode == 0, made.stdout[-5000:]
    return checkout


@pytest.mark.whole
def test_the_pages_commands_label_every_frame(finished_clips: Path) -> None:
    results = finished_clips / "results" / "clips"
    assert (results / "report.html").is_file() and (results / "plots" / "label_curve_actions.svg").is_file()
    episodes = pd.read_csv(results / "data" / "game" / "episodes.csv")
    assert set(episodes["split"][episodes["labelled_rows"] > 0]) == {"train", "validation", "test"}
    scores = pd.read_csv(results / "summary" / "action_aggregate.csv")
    scored = scores.groupby(["method", "what"])["labels"].nunique().to_dict()
    assert scored == {("bc", "agent"): 3, ("latent", "agent"): 3, ("latent", "decoder"): 3}

    label = shown("git clone").splitlines()[-1]
    said = in_the_checkout(finished_clips, "-m", "lamflow.cli", *shlex.split(label)[1:])
    assert said.returncode == 0, said.stderr[-3000:]
    labels = pd.read_parquet(finished_clips / "labels.parquet")
    assert len(labels) == CLIPS * FRAMES and not labels.duplicated(["episode", "frame"]).any()
    assert labels["episode"].nunique() == CLIPS
    followed = labels["frame"] < FRAMES - 1
    assert labels["action"][followed].between(0, 4).all() and labels["confidence"][followed].between(0, 1).all()
    assert labels[~followed][["latent_0", "latent_7", "action", "confidence"]].isna().all(axis=None)


@pytest.mark.whole
def test_the_cells_of_the_notebook_run_one_after_the_other(finished_clips: Path) -> None:
    """On the finished run, so that the training's cell has nothing to do."""
    cells = json.loads(ROOT.joinpath("docs", "your-data.ipynb").read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    finished_clips.joinpath("labels.parquet").unlink(missing_ok=True)
    said = in_the_checkout(finished_clips, "-c", "\n".join(code))
    assert said.returncode == 0, said.stderr[-3000:]
    assert f"{CLIPS} clips" in said.stdout and "lapo on game is" in said.stdout
    assert f"of {LABELLED * (FRAMES - 1)} known actions are decoded right" in said.stdout
    assert len(pd.read_parquet(finished_clips / "labels.parquet")) == CLIPS * FRAMES


def in_the_checkout(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"PYTHONPATH": str(checkout / "src"), "MPLBACKEND": "agg"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )
