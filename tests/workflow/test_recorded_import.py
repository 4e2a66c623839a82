"""An environment that nobody plays, from NumPy's files to a latent action model and its latents, through the workflow."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from lamflow.data.latents import LatentStore

TRAINING = {"steps": 20, "batch_size": 16, "warmup_steps": 5, "log_every": 10, "validate_every": 20}
ENCODER = {"kind": "impala", "stem": "patch", "channels": [8], "blocks": 0, "hidden_width": 16}
CONFIGURATION = {
    "experiment": "mine",
    "envs": ["mine"],
    "environments": {
        "mine": {
            "kind": "recorded",
            "episodes": {"kind": "npz", "path": "recordings"},
            "splits": {"train": 0.6, "by": "group"},
            "actions": 4,
        }
    },
    "seeds": [0],
    "labels": [16],
    "lams": {
        "lapo": {
            "inverse_dynamics": ENCODER,
            "forward_dynamics": {"kind": "unet", "stem": "patch", "base_width": 4},
            "training": TRAINING,
        }
    },
    "methods": {"lapo": {"kind": "latent", "lam": "lapo", "policy": {"network": ENCODER}}},
}
LATENTS = "results/mine/latents/mine/lapo/seed0/train.zarr"

Snakemake = Callable[..., subprocess.CompletedProcess[str]]


def write_recordings(folder: Path) -> None:
    """A bright square that four actions move, on five days."""
    generator = np.random.default_rng(0)
    moves = np.array([[-4, 0], [0, 4], [4, 0], [0, -4]])
    for number in range(10):
        actions, place = generator.integers(0, 4, 20), np.array([28, 28])
        frames = np.zeros((21, 64, 64, 3), np.uint8)
        for row in range(21):
            frames[row, place[0] : place[0] + 8, place[1] : place[1] + 8] = 200
            place = np.clip(place + moves[actions[min(row, 19)]], 0, 56)
        day = folder / f"day{number // 2}"
        day.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(day / f"{number}.npz", frames=frames, actions=actions)


@pytest.mark.whole
def test_recordings_to_latents(copied: Callable[[Path], Path], snakemake: Snakemake, tmp_path: Path) -> None:
    checkout = copied(tmp_path / "checkout")
    write_recordings(checkout / "recordings")
    checkout.joinpath("config", "mine.yaml").write_text(yaml.safe_dump(CONFIGURATION))
    arguments = ("--configfile=config/mine.yaml", LATENTS)

    made = snakemake(checkout, *arguments)
    assert made.returncode == 0, made.stdout[-3000:]
    latents = LatentStore.open(checkout / LATENTS)
    table = (checkout / "results" / "mine" / "data" / "mine" / "episodes.csv").read_text().splitlines()
    assert table[0] == "split,place,name,group,rows,labelled_rows" and len(table) == 11
    in_train = [line.split(",") for line in table[1:] if line.startswith("train")]
    assert latents.num_rows == sum(int(line[4]) for line in in_train) == 21 * len(in_train)
    assert all(line[5] == "20" for line in in_train) and len({line[3] for line in in_train}) == 3
    assert "Nothing to be done" in snakemake(checkout, *arguments, "--dry-run").stdout

    changed = checkout / "recordings" / "day0" / "0.npz"
    recorded = dict(np.load(changed))
    np.savez_compressed(changed, frames=recorded["frames"][:11], actions=recorded["actions"][:10])
    assert "Episodes of mine, all splits, from its recordings" in snakemake(checkout, *arguments, "--dry-run").stdout
    np.savez_compressed(changed, frames=recorded["frames"], actions=recorded["actions"] + 4)
    refused = snakemake(checkout, *arguments, "--dry-run")
    assert refused.returncode != 0 and "environments.mine.actions: found 4, expected at least 8" in refused.stdout


@pytest.mark.slow
def test_recordings_of_a_simulated_environment_take_the_place_of_a_demonstrator(
    copied: Callable[[Path], Path], planned: Callable[..., list[str]], tmp_path: Path
) -> None:
    checkout = copied(tmp_path / "checkout")
    recordings = checkout / "recordings"
    recordings.mkdir()
    for number in range(4):
        np.savez(recordings / f"{number}.npz", state=np.full((9, 4), number, np.float32), actions=np.arange(9) % 2)
    cart = {
        "kind": "gymnasium",
        "id": "CartPole-v1",
        "episodes": {"kind": "npz", "path": "recordings", "observations": {"state": "state"}},
        "returns": {"random": 20, "demonstrator": 500},
    }
    oracle = {"kind": "oracle_bc", "policy": {"network": {"kind": "mlp"}}}
    changes = {"envs": ["cart"], "environments": {"cart": cart}, "lams": {}, "methods": {"oracle": oracle}}
    checkout.joinpath("config", "cart.yaml").write_text(yaml.safe_dump(CONFIGURATION | changes))
    jobs = planned(checkout, "--configfile=config/cart.yaml")
    episodes = [job for job in jobs if job.startswith("Episodes of")]
    assert episodes == ["Episodes of cart, all splits, from its recordings"]
    assert not any(job.startswith("Demonstrator of") for job in jobs)
    assert any(job.startswith("Rollouts of oracle on cart") for job in jobs)
