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
import pyarrow.parquet as parquet

from lamflow.cli import main
from lamflow.data.latents import LatentStore

ENV = "xland-doorkey-5x5-full"
SRC = Path(__file__).parents[2] / "src"
SCRIPT = """
import json, sys
import lamflow
from lamflow.envs.levels import draw_levels
from lamflow.rl.demonstrator_settings import CollectionSettings
from lamflow.stages.evaluate_agents import LEVEL_STREAM, play_levels
for name, labels in json.loads(sys.argv[1]).items():
    agent = lamflow.load_agent(name, **({"labels": labels, "draw": 0} if labels else {}))
    levels = draw_levels(agent.spec, "test", 8, agent.seed + LEVEL_STREAM, 40)
    every = agent.agent.agent  # with all its members, as what is drawn is drawn for all of them in turn
    result = play_levels(agent.spec, every, levels, CollectionSettings(num_rulesets=40))
    print(json.dumps([name, result.level_ids.tolist(), result.returns.tolist(), result.lengths.tolist()]))
"""
AGENTS = {
    "lapo/seed0": 64,
    "lapo/seed1": 64,
    "lapo_codes/seed0": 16,
    "bc/seed0": 16,
    "vpt/seed0": 64,
    "oracle_bc/seed0": None,
    "lapo_online/seed0": None,
    "random/seed0": None,
}
"""Methods and seeds, and label budgets where there are several."""


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


def test_packed_agents_play_as_the_workflows_rollouts(tiny_run: Path, tmp_path: Path) -> None:
    results = tiny_run / "results" / "tiny"
    for name in AGENTS:
        kind = {"random": "evaluation", "lapo_online": "online"}.get(name.split("/")[0], "policies")
        assert main(["pack", str(results / kind / ENV / name), str(tmp_path / name)]) == 0
    said = elsewhere(tmp_path, "-c", SCRIPT, json.dumps(AGENTS)).splitlines()
    assert len(said) == len(AGENTS)
    for name, levels, returns, lengths in map(json.loads, said):
        with results.joinpath("evaluation", ENV, name, "returns.csv").open(encoding="utf-8") as opened:
            rows = list(csv.DictReader(opened))
        assert levels == [int(row["level_seed"]) for row in rows], name
        np.testing.assert_allclose(returns, [float(row["return"]) for row in rows], rtol=1e-8, err_msg=name)
        assert lengths == [int(row["length"]) for row in rows], name


def test_the_command_labels_the_workflows_episodes_with_its_latents(tiny_run: Path, tmp_path: Path) -> None:
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
