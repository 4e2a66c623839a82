"""Decoders, policies and rollouts of every kind of method in a Procgen game."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lamflow.data.latents import LatentWriter
from lamflow.data.store import EpisodeStore, EpisodeWriter
from lamflow.data.windows import transition_rows
from lamflow.envs.interface import Episode
from lamflow.envs.presets import preset
from lamflow.methods import cloning as cloning_module
from lamflow.policies.members import label_members
from lamflow.stages import evaluate_agents as evaluate_module
from lamflow.stages.evaluate_agents import evaluate_agents
from lamflow.stages.train_action_decoders import train_action_decoders
from lamflow.stages.train_policy import train_policy

ENV = "procgen-dodgeball"
LABELS, DRAWS = (16, "2 trajectories"), 1
TRAINING = {"steps": 3, "batch_size": 8}
NETWORK = {"kind": "impala", "stem": "patch", "channels": [8], "blocks": 0, "hidden_width": 16}
POLICY, DECODER = {"network": NETWORK, "training": TRAINING}, {"hidden_widths": [8], "training": TRAINING}
METHODS: dict[str, dict[str, Any]] = {
    "lapo": {"kind": "latent", "lam": "lapo", "policy": POLICY, "decoder": DECODER},
    "bc": {"kind": "bc", "policy": POLICY | {"context": 2}},
    "vpt": {"kind": "vpt", "inverse_dynamics": NETWORK, "policy": POLICY, "decoder": DECODER},
    "oracle_bc": {"kind": "oracle_bc", "policy": POLICY},
    "random": {"kind": "random"},
}


def write_episodes(folder: Path, split: str, *, episodes: int, seed: int) -> None:
    """Random frames without final observations, with latents; the returns of random and expert are not known."""
    generator, spec = np.random.default_rng(seed), preset(ENV)
    attributes = {"source": "random frames", "licence": "MIT"}
    with EpisodeWriter(folder / f"{split}.zarr", spec=spec, split=split, attributes=attributes) as writer:
        for level in range(episodes):
            length = 6 + level % 3
            writer.append(
                Episode(
                    observations={"frames": generator.integers(256, size=(length, 64, 64, 3), dtype=np.uint8)},
                    actions=generator.integers(15, size=length),
                    rewards=np.zeros(length, np.float32),
                    terminated=True,
                    truncated=False,
                    level_id=level,
                )
            )
    store = EpisodeStore.open(folder / f"{split}.zarr")
    path = folder / f"latents_{split}.zarr"
    with LatentWriter(path, episodes=store, lam="lapo", seed=0, latent_dim=4) as latents:
        latents.append(generator.normal(size=(store.num_rows, 4)).astype(np.float32))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pixels")
    for seed, (split, episodes) in enumerate({"train": 8, "validation": 3, "test": 2}.items()):
        write_episodes(folder, split, episodes=episodes, seed=seed)
    return folder


def run(method: str, data: Path, folder: Path, **evaluation: Any) -> list[dict[str, str]]:
    """All stages of a method; the rows of its returns."""
    settings = METHODS[method]
    common = {
        "environment": preset(ENV).facts(),
        "method": method,
        "settings": settings,
        "labels": LABELS,
        "label_draws": DRAWS,
        "seed": 0,
    }
    latent = settings["kind"] == "latent"
    decoders = folder / "decoders.safetensors" if latent or method == "vpt" else None
    latents = {split: data / f"latents_{split}.zarr" if latent else None for split in ("train", "validation")}
    if decoders:
        train_action_decoders(**common, train=data / "train.zarr", latents=latents["train"], output=decoders)
    if method != "random":
        train_policy(
            **common,
            logging={},
            train=data / "train.zarr",
            validation=data / "validation.zarr",
            latents=latents["train"],
            validation_latents=latents["validation"],
            decoders=None if latent else decoders,
            output=folder / "policy.safetensors",
            metrics=folder / "metrics.csv",
            state_dir=folder / "state",
        )
    evaluate_agents(
        **common,
        evaluation={"episodes": 2},
        collection=evaluation,
        episodes=data / "test.zarr",
        policy=folder / "policy.safetensors" if method != "random" else None,
        decoders=decoders if latent else None,
        output=folder / "returns.csv",
    )
    with (folder / "returns.csv").open() as opened:
        return list(csv.DictReader(opened))


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_method_goes_all_the_way_to_its_returns(method: str, data: Path, tmp_path: Path) -> None:
    """In the simulator; the test store has no references, so they are the published bounds of the game."""
    rows = run(method, data, tmp_path)
    assert len(rows) == 2 * (1 if method in ("oracle_bc", "random") else len(label_members(LABELS, DRAWS)))
    assert {row["level_seed"] for row in rows} == {row["level_seed"] for row in rows[:2]}
    assert {(float(row["return_random"]), float(row["return_expert"])) for row in rows} == {preset(ENV).return_bounds}
    assert all(1 <= int(row["length"]) <= preset(ENV).max_steps for row in rows)


@pytest.mark.slow
def test_the_same_run_gives_the_same_bytes(data: Path, tmp_path: Path) -> None:
    first, again = (run("vpt", data, tmp_path / name) for name in ("first", "again"))
    assert first == again
    policies = [(tmp_path / name / "policy.safetensors").read_bytes() for name in ("first", "again")]
    assert policies[0] == policies[1]


@pytest.mark.slow
def test_only_methods_that_need_next_frames_leave_last_actions_out(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays, clone, seen = EpisodeStore.open(data / "train.zarr").load(), cloning_module.clone, {}

    def clone_and_note(**arguments: Any) -> Any:
        seen[method] = arguments["train_examples"].rows.cpu()
        return clone(**arguments)

    monkeypatch.setattr(cloning_module, "clone", clone_and_note)
    for method in ("oracle_bc", "lapo", "vpt"):
        run(method, data, tmp_path / method)
    assert torch.equal(seen["oracle_bc"], torch.arange(arrays.num_rows))
    assert torch.equal(seen["lapo"], transition_rows(arrays)) and torch.equal(seen["vpt"], transition_rows(arrays))


@pytest.mark.parametrize(("levels", "expected"), [("all", True), ("split", False)])
def test_levels_are_drawn_from_all_where_the_collection_was(
    levels: str, expected: bool, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, draw = [], evaluate_module.draw_levels

    def draw_and_note(*arguments: Any, all_levels: bool) -> Any:
        drawn.append(all_levels)
        return draw(*arguments, all_levels=all_levels)

    monkeypatch.setattr(evaluate_module, "draw_levels", draw_and_note)
    run("random", data, tmp_path, levels=levels)
    assert drawn == [expected]
