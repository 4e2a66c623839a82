"""Latent action models of an environment of vectors and continuous actions, from stores to figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from linear_world import LENGTH, SETTINGS, SPEC, linear_episodes

from lamflow.data.latents import LatentStore
from lamflow.data.store import EpisodeArrays, EpisodeStore, EpisodeWriter
from lamflow.data.tensors import EpisodeTensors
from lamflow.envs.interface import Episode
from lamflow.lam import probe
from lamflow.lam.learning import load_latent_action_model
from lamflow.lam.validation import label_rows
from lamflow.stages.plot_code_actions import plot_code_actions
from lamflow.stages.plot_film_strip import plot_film_strip
from lamflow.stages.plot_lam_curves import plot_lam_curves
from lamflow.stages.plot_latent_space import plot_latent_space
from lamflow.stages.relabel_episodes import relabel_episodes
from lamflow.stages.train_lam import train_lam

LAM: dict[str, Any] = SETTINGS | {
    "quantizer": {"codebooks": 1, "tokens": 1, "code_dim": 2, "codes": 8, "decay": 0.9, "revive_below": 0.3},
    "context": 2,
    "training": SETTINGS["training"] | {"steps": 6, "validate_every": 3, "log_every": 3},
}


def write(path: Path, arrays: EpisodeArrays, split: str) -> Path:
    with EpisodeWriter(path, spec=SPEC, split=split, attributes={"source": "test", "licence": "MIT"}) as writer:
        for start in arrays.episode_starts:
            rows = slice(start, start + LENGTH + 1)
            writer.append(
                Episode(
                    observations={"state": arrays.frames[rows]},
                    actions=arrays.actions[rows][:-1],
                    rewards=arrays.rewards[rows][:-1],
                    terminated=False,
                    truncated=True,
                    level_id=int(start),
                )
            )
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stores, a model of a few steps, and its latents."""
    found = tmp_path_factory.mktemp("vectors")
    stores = {
        split: write(found / f"{split}.zarr", linear_episodes(12, seed), split)
        for seed, split in enumerate(("train", "validation"))
    }
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(probe, "PROBE_TRAINING", probe.PROBE_TRAINING.model_copy(update={"steps": 3}))
    train_lam(
        environment=SPEC.facts(),
        lam="plain",
        settings=LAM,
        logging={},
        seed=0,
        output=found / "model.safetensors",
        metrics=found / "metrics.csv",
        state_dir=found / "state",
        **stores,
    )
    monkeypatch.undo()
    relabel_episodes(
        environment=SPEC.facts(),
        lam="plain",
        seed=0,
        model=found / "model.safetensors",
        episodes=stores["validation"],
        output=found / "latents.zarr",
    )
    return found


def test_a_streamed_split_gives_the_model_the_same_moments(folder: Path, tmp_path: Path) -> None:
    """A window that holds none of it at once."""
    store = EpisodeStore.open(folder / "train.zarr")
    streamed, held = EpisodeTensors.open(store, window_gib=0).moments(), EpisodeTensors(store.load()).moments()
    assert set(streamed) == set(held) == {"state", "change of state"}
    model = load_latent_action_model(folder / "model.safetensors", spec=SPEC)
    for name, standard in (
        ("state", model.inverse_dynamics.input.first),
        ("change of state", model.forward_dynamics.units),
    ):
        for one, other in zip(streamed[name], held[name], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-6, atol=0)
        torch.testing.assert_close(standard.mean, held[name][0])
        torch.testing.assert_close(standard.deviation, held[name][1])


def test_latents_in_the_store_are_those_of_the_model(folder: Path) -> None:
    model = load_latent_action_model(folder / "model.safetensors", spec=SPEC)
    data = EpisodeTensors(EpisodeStore.open(folder / "validation.zarr").load())
    labels = label_rows(model, data.part(model.window, data.rows))
    stored = LatentStore.open(folder / "latents.zarr").load()
    np.testing.assert_allclose(stored.latents[data.rows], labels.continuous, rtol=1e-5, atol=1e-6)
    assert stored.codes is not None and np.array_equal(stored.codes[data.rows], labels.codes)


def test_metrics_of_a_training_are_those_of_vectors_and_continuous_actions(folder: Path) -> None:
    names = set(pd.read_csv(folder / "metrics.csv")["name"])
    assert {"fdm/unexplained_variance", "fdm/change_explained", "fdm/nearer_next_frame", "loss/standardised"} <= names
    assert {"probe/linear_r2", "probe/mlp_r2_effectful", "probe/mlp_r2_entry1"} <= names
    assert not [name for name in names if "accuracy" in name]


def test_figures_of_latents_and_curves_can_be_drawn(folder: Path, tmp_path: Path) -> None:
    plot_latent_space(
        episodes=folder / "validation.zarr", latents=[folder / "latents.zarr"], output=tmp_path / "space.svg"
    )
    text = (tmp_path / "space.svg").read_text()
    assert "first principal component" in text and "plain, seed 0" in text
    plot_lam_curves(
        metrics=[folder / "metrics.csv"], runs=[{"lam": "plain", "seed": 0}], output=tmp_path / "curves.svg"
    )
    text = (tmp_path / "curves.svg").read_text()
    assert "R²" in text and "loss (squared error)" in text


def test_figures_that_need_pictures_or_named_actions_say_so(folder: Path, tmp_path: Path) -> None:
    files = {"episodes": folder / "validation.zarr", "latents": folder / "latents.zarr", "output": tmp_path / "x.png"}
    with pytest.raises(ValueError, match=r"validation\.zarr: actions of linear-world are continuous"):
        plot_code_actions(**files)
    with pytest.raises(ValueError, match=r"found frames of kind vector and actions of kind box in linear-world"):
        plot_film_strip(model=folder / "model.safetensors", **files)
