"""Recordings whose frames are kept, resized and letterboxed, in three sizes, from their files to scores, figures and a report."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import lamflow
from lamflow.data.latents import LatentStore
from lamflow.data.store import EpisodeStore

RECORDED = {"kept": (84, 84), "resized": (100, 100), "letterboxed": (90, 160)}
"""Height and width of pictures by environment."""
FRAMES = {
    "kept": {},
    "resized": {"height": 96, "width": 64, "fit": "resize"},
    "letterboxed": {"height": 128, "width": 128, "fit": "letterbox"},
}
SIZES = {"kept": (84, 84), "resized": (96, 64), "letterboxed": (128, 128)}
TRAINING = {"steps": 4, "batch_size": 4, "warmup_steps": 1, "log_every": 2, "validate_every": 4}
ENCODER = {"kind": "impala", "channels": [4, 4, 4], "blocks": 1, "hidden_width": 16}
ACTIONS, EPISODES, ROWS = 4, 6, 12

Snakemake = Callable[..., subprocess.CompletedProcess[str]]


def environment(name: str) -> dict[str, object]:
    splits = {"train": 0.5, "validation": 0.25}
    episodes = {"kind": "npz", "path": f"recordings/{name}"}
    return {"kind": "recorded", "episodes": episodes, "frames": FRAMES[name], "splits": splits, "actions": ACTIONS}


CONFIGURATION = {
    "experiment": "sizes",
    "envs": list(SIZES),
    "environments": {name: environment(name) for name in SIZES},
    "seeds": [0],
    "labels": [8],
    "label_draws": 1,
    "lams": {
        "lapo": {
            "inverse_dynamics": ENCODER,
            "forward_dynamics": {"kind": "unet", "base_width": 2},
            "training": TRAINING,
        }
    },
    "methods": {
        "lapo": {
            "kind": "latent",
            "lam": "lapo",
            "policy": {"network": ENCODER, "training": TRAINING},
            "decoder": {"hidden_widths": [8], "training": TRAINING},
        }
    },
    "evaluation": {"bootstrap_samples": 20},
}


def write_recordings(folder: Path, height: int, width: int) -> None:
    """A bright square that four actions move before a grey background."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    moves = np.array([[-8, 0], [0, 8], [8, 0], [0, -8]])
    for number in range(EPISODES):
        actions, place = generator.integers(0, ACTIONS, ROWS), np.array([height // 2, width // 2])
        frames = np.full((ROWS, height, width, 3), 100, np.uint8)
        for frame, action in zip(frames, actions, strict=True):
            frame[place[0] : place[0] + 16, place[1] : place[1] + 16] = 220
            place = np.clip(place + moves[action], 0, [height - 16, width - 16])
        np.savez_compressed(folder / f"{number}.npz", frames=frames, actions=actions)


@pytest.mark.whole
def test_frames_of_three_sizes_go_the_whole_way(
    copied: Callable[[Path], Path], snakemake: Snakemake, tmp_path: Path
) -> None:
    checkout = copied(tmp_path / "checkout")
    for name, size in RECORDED.items():
        write_recordings(checkout / "recordings" / name, *size)
    checkout.joinpath("config", "sizes.yaml").write_text(yaml.safe_dump(CONFIGURATION))
    results = checkout / "results" / "sizes"
    figures = ["label_curve_actions.svg", "resized/lam_curves.svg", *(f"{name}/lapo/film_strip.png" for name in SIZES)]
    wanted = ["summary/action_aggregate.csv", *(f"plots/{figure}" for figure in figures)]
    report = ("--report", str(results / "report.html"), "--report-after-run")
    made = snakemake(checkout, "--configfile=config/sizes.yaml", *(f"results/sizes/{path}" for path in wanted), *report)
    assert made.returncode == 0, made.stdout[-6000:]

    assert (results / "report.html").stat().st_size > 100_000
    scores = pd.read_csv(results / "summary" / "action_aggregate.csv")
    assert set(scores["env"]) >= set(SIZES), scores
    for name, size in SIZES.items():
        store = EpisodeStore.open(results / "data" / name / "train.zarr")
        frames = store.load().frames
        assert frames.shape == (3 * ROWS, *size, 3)
        assert LatentStore.open(results / "latents" / name / "lapo" / "seed0" / "train.zarr").num_rows == 3 * ROWS
        bars = np.concatenate([frames[:, :28], frames[:, -28:]], axis=1)
        assert (bars == 0).all() if name == "letterboxed" else (frames >= 100).all()
        model = lamflow.load_lam(results / "lam" / name / "lapo" / "seed0" / "model.safetensors")
        predicted = model.predict(frames[:2], model.encode(frames[:3]))
        assert predicted.shape == (2, *size, 3) and predicted.dtype == np.uint8
