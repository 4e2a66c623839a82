"""The plotting stages: files in, figure and provenance out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from labelled_files import relabelled

from lamflow import plots
from lamflow.data.latents import LatentWriter
from lamflow.data.store import EpisodeStore, EpisodeWriter
from lamflow.envs.interface import Episode
from lamflow.envs.presets import preset
from lamflow.lam.one_step import OneStepLam
from lamflow.lam.one_step_settings import OneStepSettings
from lamflow.plots.latent_panels import ACTIONS_UNKNOWN
from lamflow.stages.plot_code_actions import plot_code_actions
from lamflow.stages.plot_film_strip import plot_film_strip, start_row
from lamflow.stages.plot_label_curve import plot_label_curve
from lamflow.stages.plot_lam_curves import plot_lam_curves
from lamflow.stages.plot_latent_space import plot_latent_space
from lamflow.stages.plot_latent_umap import plot_latent_umap
from lamflow.stages.plot_method_comparison import plot_method_comparison
from lamflow.stages.plot_online_curves import plot_online_curves
from lamflow.stages.plot_performance_profile import plot_performance_profile
from lamflow.stages.plot_policy_curves import plot_policy_curves
from lamflow.stages.plot_probability_of_improvement import plot_probability_of_improvement
from lamflow.training.checkpoint import save_model

MakeMetrics = Callable[..., pd.DataFrame]
ENV = "xland-doorkey-6x6"
PUBLISHED = Path(__file__).parents[2] / "config" / "published" / "lapo_returns.csv"


@pytest.fixture
def episodes(tmp_path: Path) -> Path:
    """A store of three episodes of ten random transitions."""
    spec, rng = preset(ENV), np.random.default_rng(0)
    path = tmp_path / "validation.zarr"
    attributes = {"source": "test", "licence": "MIT"}
    with EpisodeWriter(path, spec=spec, split="validation", attributes=attributes) as writer:
        for level in range(3):
            writer.append(
                Episode(
                    observations={
                        "frames": rng.integers(0, spec.category_sizes, (11, *spec.frame_shape)).astype(np.uint8),
                        "proprioception": rng.integers(0, spec.proprioception_sizes, (11, 3)).astype(np.uint8),
                    },
                    actions=rng.integers(0, spec.num_actions, 10),
                    rewards=np.zeros(10, np.float32),
                    terminated=True,
                    truncated=False,
                    level_id=level,
                )
            )
    return path


@pytest.fixture
def write_latents(tmp_path: Path, episodes: Path) -> Callable[..., Path]:
    """A function that writes a latent store of ``episodes``."""

    def write(lam: str, tokens: int) -> Path:
        path, store, rng = tmp_path / f"{lam}.zarr", EpisodeStore.open(episodes), np.random.default_rng(1)
        size = 8 if tokens else None
        with LatentWriter(
            path, episodes=store, lam=lam, seed=0, latent_dim=4, num_tokens=tokens, codebook_size=size
        ) as writer:
            latents = rng.normal(size=(store.num_rows, 4)).astype(np.float32)
            codes = rng.integers(0, 8, (store.num_rows, tokens))
            writer.append(latents, codes if tokens else None)
        return path

    return write


def check(path: Path, stage: str, *words: str) -> dict[str, object]:
    """The SVG holds the words; returns the provenance beside it."""
    text = path.read_text(encoding="utf-8")
    for word in words:
        assert word in text, word
    found: dict[str, object] = json.loads(path.with_suffix(".json").read_text())
    assert found["stage"] == f"lamflow.stages.{stage}"
    return found


@pytest.mark.slow
def test_result_figures(aggregate: pd.DataFrame, episodes: Path, tmp_path: Path) -> None:
    table = tmp_path / "aggregate.csv"
    aggregate.to_csv(table, index=False)
    plot_label_curve(aggregate=table, output=tmp_path / "label_curve.svg", episodes=[episodes])
    found = check(tmp_path / "label_curve.svg", "plot_label_curve", "500 traj.", "oracle BC")
    assert found["settings"] == {"statistic": "mean", "trajectory_lengths": {ENV: 10.0, "all": pytest.approx(10.0)}}
    plot_method_comparison(aggregate=table, labels=64, output=tmp_path / "method_comparison.svg")
    check(tmp_path / "method_comparison.svg", "plot_method_comparison", "with 64 labels")


def test_published_returns_are_an_input_of_the_figures_that_show_them(aggregate: pd.DataFrame, tmp_path: Path) -> None:
    table = tmp_path / "aggregate.csv"
    aggregate.replace({"xland-doorkey-6x6": "procgen-maze"}).to_csv(table, index=False)
    plot_label_curve(aggregate=table, output=tmp_path / "label_curve.svg", published=PUBLISHED)
    found = check(tmp_path / "label_curve.svg", "plot_label_curve", "LAPO (digitised)")
    assert set(found["inputs"]) == {"aggregate", "published"}


@pytest.mark.slow
def test_figures_of_comparisons(improvement: pd.DataFrame, profile: pd.DataFrame, tmp_path: Path) -> None:
    improvement.to_csv(tmp_path / "improvement.csv", index=False)
    profile.to_csv(tmp_path / "profile.csv", index=False)
    plot_performance_profile(profile=tmp_path / "profile.csv", output=tmp_path / "performance_profile.svg")
    check(tmp_path / "performance_profile.svg", "plot_performance_profile", "with 64 labels")
    plot_probability_of_improvement(
        improvement=tmp_path / "improvement.csv",
        labels=64,
        baselines=["bc"],
        output=tmp_path / "probability_of_improvement.svg",
    )
    found = check(tmp_path / "probability_of_improvement.svg", "plot_probability_of_improvement", "P(method beats BC)")
    assert found["settings"] == {"labels": "64", "baselines": ["bc"]}


def test_online_curves(tmp_path: Path) -> None:
    paths = []
    for seed in range(2):
        path = tmp_path / f"curve{seed}.csv"
        rows = {"env_steps": [100, 200, 300], "episodes": [0, 3, 2], "return_mean": [None, 1.0, 2.0]}
        run = {"env": ENV, "method": "rl", "seed": seed, "return_random": 0.0, "return_expert": 2.0}
        pd.DataFrame(rows).assign(**run).to_csv(path, index=False)
        paths.append(path)
    plot_online_curves(curves=paths, output=tmp_path / "online_curves.svg", bootstrap_samples=50, published=PUBLISHED)
    found = check(tmp_path / "online_curves.svg", "plot_online_curves", ENV, ">rl<", "environment steps")
    assert len(found["inputs"]) == 3
    assert "digitised" not in tmp_path.joinpath("online_curves.svg").read_text()


def test_a_broken_aggregate_is_named_and_leaves_no_figure(tmp_path: Path) -> None:
    table = tmp_path / "aggregate.csv"
    table.write_text("env,method\na,b\n")
    with pytest.raises(ValueError, match=r"aggregate\.csv: missing column\(s\): labels"):
        plot_label_curve(aggregate=table, output=tmp_path / "label_curve.svg")
    assert not (tmp_path / "label_curve.svg").exists()


def test_learning_curves(metrics: MakeMetrics, tmp_path: Path) -> None:
    names = (("train", "loss/reconstruction"), ("train", "loss/total"), ("validation", "fdm/loss"))
    runs, paths = [], []
    for seed in range(2):
        path = tmp_path / f"metrics{seed}.csv"
        metrics(names, seed).drop(columns="seed").to_csv(path, index=False)
        paths.append(path)
        runs.append({"env": ENV, "lam": "lapo", "method": "bc", "seed": seed})
    plot_lam_curves(metrics=paths, runs=runs, output=tmp_path / "lam_curves.svg")
    found = check(tmp_path / "lam_curves.svg", "plot_lam_curves", ">lapo<")
    assert set(found["inputs"]) == {"lam lapo, seed 0", "lam lapo, seed 1"}
    plot_policy_curves(metrics=paths, runs=runs, output=tmp_path / "policy_curves.svg")
    check(tmp_path / "policy_curves.svg", "plot_policy_curves", ">BC<")


@pytest.mark.slow
def test_latent_figures(episodes: Path, write_latents: Callable[..., Path], tmp_path: Path) -> None:
    latents = [write_latents("lapo", 2), write_latents("continuous", 0)]
    plot_latent_space(episodes=episodes, latents=latents, output=tmp_path / "latent_space.svg")
    check(tmp_path / "latent_space.svg", "plot_latent_space", "lapo, seed 0", "continuous, seed 0", "toggle")
    plot_latent_umap(episodes=episodes, latents=latents, output=tmp_path / "latent_umap.svg")
    check(tmp_path / "latent_umap.svg", "plot_latent_umap", "lapo, seed 0", "continuous, seed 0", "UMAP 1")
    plot_code_actions(episodes=episodes, latents=latents[0], output=tmp_path / "code_actions.svg")
    check(tmp_path / "code_actions.svg", "plot_code_actions", f"{ENV}, lapo, seed 0")
    with pytest.raises(ValueError, match=r"continuous\.zarr: LAM 'continuous' has no codebook"):
        plot_code_actions(episodes=episodes, latents=latents[1], output=tmp_path / "code_actions.svg")


@pytest.mark.slow
def test_film_strip_of_a_model(episodes: Path, write_latents: Callable[..., Path], tmp_path: Path) -> None:
    settings = OneStepSettings.model_validate({"quantizer": {"codebooks": 1, "tokens": 2, "code_dim": 2, "codes": 8}})
    network = OneStepLam(settings=settings, spec=preset(ENV))
    metadata = {"kind": "lam", "env": ENV, "lam": "lapo", "seed": 0, "settings": settings.model_dump(mode="json")}
    save_model(tmp_path / "model.safetensors", network.state_dict(), metadata)
    plot_film_strip(
        model=tmp_path / "model.safetensors",
        episodes=episodes,
        latents=write_latents("lapo", 2),
        output=tmp_path / "film_strip.svg",
    )
    check(tmp_path / "film_strip.svg", "plot_film_strip", "now", "really next:", f"{ENV}, lapo, seed 0")


@pytest.mark.slow
def test_figures_of_actions_are_of_the_rows_whose_action_is_known(
    episodes: Path, write_latents: Callable[..., Path], tmp_path: Path
) -> None:
    """Here those of action 2 alone, or none."""
    arrays = EpisodeStore.open(episodes).load()
    for labelled, shown in ((arrays.actions == 2, ">turn left<"), (arrays.acted & False, f">{ACTIONS_UNKNOWN}<")):
        relabelled(episodes, episodes, labelled)
        latents = write_latents("lapo", 2)
        plot_latent_space(episodes=episodes, latents=[latents], output=tmp_path / "latent_space.svg")
        check(tmp_path / "latent_space.svg", "plot_latent_space", "lapo, seed 0", shown)
        plot_code_actions(episodes=episodes, latents=latents, output=tmp_path / "code_actions.svg")
        check(tmp_path / "code_actions.svg", "plot_code_actions", f"{ENV}, lapo, seed 0")
        assert "toggle" not in (tmp_path / "latent_space.svg").read_text()
    assert ACTIONS_UNKNOWN in (tmp_path / "code_actions.svg").read_text()


def test_the_start_frame_is_one_of_the_most_frequent_action(episodes: Path) -> None:
    arrays = EpisodeStore.open(episodes).load()
    changes = np.flatnonzero(arrays.actions >= 0)
    row = start_row(arrays, changes)
    assert arrays.actions[row] == np.bincount(arrays.actions[changes]).argmax()


def test_latents_of_other_episodes_are_refused(write_latents: Callable[..., Path], tmp_path: Path) -> None:
    latents = write_latents("lapo", 2)
    spec, other = preset(ENV), tmp_path / "other.zarr"
    with EpisodeWriter(other, spec=spec, split="test", attributes={"source": "test", "licence": "MIT"}) as writer:
        observations = {name: np.zeros((2, *part.shape), np.uint8) for name, part in spec.observation.items()}
        actions, rewards = np.zeros(1, np.int64), np.zeros(1, np.float32)
        writer.append(Episode(observations, actions, rewards, True, False, 0))
    with pytest.raises(ValueError, match=r"lapo\.zarr"):
        plot_latent_space(episodes=other, latents=[latents], output=tmp_path / "latent_space.svg")


def test_a_change_of_one_figure_leaves_the_code_digests_of_the_others() -> None:
    """A figure's stage imports its own drawing module and what all share, so the workflow draws only that figure again."""
    shared = {"style", "curves", "latent_panels"}
    for stage in Path(plots.__file__).parents[1].joinpath("stages").glob("plot_*.py"):
        drawn = set(re.findall(r"^from lamflow\.plots\.(\w+) import", stage.read_text(), flags=re.MULTILINE)) - shared
        assert drawn == {stage.stem.removeprefix("plot_")}
