"""Stages on a small world: stores of its episodes, and two latent action models of it with their latents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from lamflow.envs.presets import preset
from lamflow.lam import probe
from lamflow.stages.relabel_episodes import relabel_episodes
from lamflow.stages.train_lam import train_lam

QUICK_PROBES = probe.PROBE_TRAINING.model_copy(update={"steps": 3})
"""Where it does not matter what probes find."""
ENV = "xland-empty-random-8x8-full"
NETWORK = {"width": 8, "layers": 2, "hidden_width": 16}
TRAINING = {"steps": 12, "batch_size": 32, "log_every": 4, "validate_every": 6, "checkpoint_every": 5}
LAMS: dict[str, dict[str, Any]] = {
    "lapo": {"quantizer": {"codebooks": 2, "tokens": 2, "code_dim": 4, "codes": 8}},
    "single": {"quantizer": {"codebooks": 1, "tokens": 1, "code_dim": 4, "codes": 6}, "symmetry": "rotation"},
    "continuous": {"quantizer": {"kind": "none", "codebooks": 1, "tokens": 1, "code_dim": 4}},
}
for settings in LAMS.values():
    settings |= {"inverse_dynamics": NETWORK, "forward_dynamics": NETWORK, "training": TRAINING}


@dataclass(frozen=True)
class World:
    """Where things are: ``<split>.zarr``, ``<lam>/model.safetensors`` and ``<lam>/<split>.zarr`` of seed 0."""

    root: Path

    def episodes(self, split: str = "train") -> Path:
        return self.root / f"{split}.zarr"

    def model(self, lam: str) -> Path:
        return self.root / lam / "model.safetensors"

    def latents(self, lam: str, split: str = "train") -> Path:
        return self.root / lam / f"{split}.zarr"

    def train_lam(self, lam: str, folder: Path, **changes: Any) -> Path:
        """Run the stage; the model's path."""
        arguments: dict[str, Any] = {
            "environment": preset(ENV).facts(),
            "lam": lam,
            "settings": LAMS[lam],
            "logging": {},
            "seed": 0,
            "train": self.episodes("train"),
            "validation": self.episodes("validation"),
            "output": folder / "model.safetensors",
            "metrics": folder / "metrics.csv",
            "state_dir": folder / "state",
        }
        train_lam(**(arguments | changes))
        return folder / "model.safetensors"


@pytest.fixture(scope="session")
def world(write_walks: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> World:
    found = World(tmp_path_factory.mktemp("world"))
    for number, (split, episodes) in enumerate({"train": 50, "validation": 12, "test": 8}.items()):
        write_walks(found.episodes(split), episodes=episodes, first_level=1000 * number, split=split)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe, "PROBE_TRAINING", QUICK_PROBES)
        for lam in LAMS:
            found.train_lam(lam, found.model(lam).parent)
    for lam, split in product(LAMS, ("train", "validation")):
        relabel_episodes(
            environment=preset(ENV).facts(),
            lam=lam,
            seed=0,
            model=found.model(lam),
            episodes=found.episodes(split),
            output=found.latents(lam, split),
        )
    return found


@pytest.fixture
def quick_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "PROBE_TRAINING", QUICK_PROBES)
