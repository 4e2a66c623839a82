"""What was learnt is taken out of the files of a finished run: in a fresh process, elsewhere, without the configuration."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ENV = "xland-doorkey-5x5-full"
SRC = Path(__file__).parents[2] / "src"
SCRIPT = """
import json, sys
import lamflow
from lamflow.envs.levels import draw_levels
from lamflow.rl.demonstrator_settings import CollectionSettings
from lamflow.stages.evaluate_agents import LEVEL_STREAM, play_levels
folder, labels, draw = sys.argv[1:]
given = {"labels": labels, "draw": int(draw)} if labels else {}
agent = lamflow.load_agent(folder, **given)
levels = draw_levels(agent.spec, "test", 8, agent.seed + LEVEL_STREAM, 40)
every = agent.agent.agent  # with all its members, as what is drawn is drawn for all of them in turn
result = play_levels(agent.spec, every, levels, CollectionSettings(num_rulesets=40))
print(json.dumps([result.level_ids.tolist(), result.returns.tolist(), result.lengths.tolist()]))
"""


def elsewhere(folder: Path, *arguments: str) -> str:
    """What a command prints in a folder that has no configuration."""
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(SRC)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def packed(tiny_run: Path, folder: Path, method: str, seed: int) -> Path:
    kind = {"random": "evaluation", "lapo_online": "online"}.get(method, "policies")
    source = tiny_run / "results" / "tiny" / kind / ENV / method / f"seed{seed}"
    elsewhere(folder, "-m", "lamflow.cli", "pack", str(source), str(folder / "agent"))
    return folder / "agent"


@pytest.mark.parametrize(
    ("method", "seed", "labels"),
    [
        ("lapo", 0, "64"),
        ("lapo", 1, "64"),
        ("lapo_codes", 0, "16"),
        ("bc", 0, "16"),
        ("vpt", 0, "64"),
        ("oracle_bc", 0, ""),
        ("lapo_online", 0, ""),
        ("random", 0, ""),
    ],
)
def test_a_packed_agent_plays_as_the_workflows_rollouts(
    method: str, seed: int, labels: str, tiny_run: Path, tmp_path: Path
) -> None:
    agent = packed(tiny_run, tmp_path, method, seed)
    levels, returns, lengths = json.loads(elsewhere(tmp_path, "-c", SCRIPT, str(agent), labels, "0").splitlines()[-1])
    path = tiny_run / "results" / "tiny" / "evaluation" / ENV / method / f"seed{seed}" / "returns.csv"
    with path.open(encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    assert levels == [int(row["level_seed"]) for row in rows]
    np.testing.assert_allclose(returns, [float(row["return"]) for row in rows], rtol=1e-8)
    assert lengths == [int(row["length"]) for row in rows]


def test_the_command_labels_the_workflows_episodes_with_its_latents(tiny_run: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as parquet

    from lamflow.data.latents import LatentStore

    results = tiny_run / "results" / "tiny"
    model, store = tmp_path / "model.safetensors", tmp_path / "validation.zarr"
    shutil.copyfile(results / "lam" / ENV / "lapo" / "seed0" / "model.safetensors", model)
    shutil.copytree(results / "data" / ENV / "validation.zarr", store)
    elsewhere(tmp_path, "-m", "lamflow.cli", "label", model.name, store.name, "-o", "labels.parquet")
    table = parquet.read_table(tmp_path / "labels.parquet")
    stored = LatentStore.open(results / "latents" / ENV / "lapo" / "seed0" / "validation.zarr")
    rows = np.flatnonzero(table["latent_0"].is_valid().to_numpy())
    width = stored.latent_dim
    found = np.stack([table[f"latent_{entry}"].to_numpy()[rows] for entry in range(width)], axis=1)
    np.testing.assert_allclose(found, stored.rows("latents").read_rows(rows), rtol=1e-4, atol=1e-5)
