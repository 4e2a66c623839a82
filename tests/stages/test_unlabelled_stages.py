"""Methods on episodes whose actions are known of some rows: they learn from these alone, whatever stands on the others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from labelled_files import poisoned, relabelled

from lamflow.data.latents import LatentWriter
from lamflow.data.store import EpisodeStore
from lamflow.data.windows import labelled_transitions
from lamflow.envs.presets import preset
from lamflow.envs.union_facts import describe
from lamflow.envs.union_settings import UnionSettings
from lamflow.lam import probe
from lamflow.methods.cloning import ActionCloning
from lamflow.methods.jobs import Job
from lamflow.methods.settings import method_settings
from lamflow.policies.members import read_members
from lamflow.policies.settings import PolicySettings
from lamflow.spaces import Unknown
from lamflow.stages.join_episodes import join_episodes
from lamflow.stages.relabel_episodes import relabel_episodes
from lamflow.stages.train_action_decoders import train_action_decoders
from lamflow.stages.train_lam import train_lam
from lamflow.stages.train_policy import train_policy

ENV = "xland-empty-random-8x8-full"
LABELS, LABEL_DRAWS = (16, "2 trajectories"), 1
TRAINING = {"steps": 3, "batch_size": 16, "learning_rate": 3e-3, "log_every": 3, "validate_every": 3}
POLICY = {"network": {"width": 8, "layers": 1, "hidden_width": 8, "pooling": "flatten"}, "training": TRAINING}
DECODER = {"hidden_widths": [8], "training": TRAINING}
METHODS: dict[str, dict[str, Any]] = {
    "lapo": {"kind": "latent", "lam": "lapo", "policy": POLICY, "decoder": DECODER},
    "dictionary": {"kind": "latent", "lam": "lapo", "target": "codes", "policy": POLICY, "decoder": {"kind": "dictionary"}},
    "bc": {"kind": "bc", "policy": POLICY},
    "vpt": {"kind": "vpt", "inverse_dynamics": POLICY["network"], "policy": POLICY, "decoder": DECODER},
    "oracle_bc": {"kind": "oracle_bc", "policy": POLICY},
}  # fmt: skip


class World:
    """A folder with the splits, of which some actions are known, and their latents; ``poison``: what stands on the other rows."""

    def __init__(self, walks: dict[str, Path], folder: Path, poison: int | None) -> None:
        self.folder = folder
        self.stores = {split: folder / f"{split}.zarr" for split in walks}
        self.latents = {split: folder / f"latents_{split}.zarr" for split in walks}
        for split, path in walks.items():
            rows = EpisodeStore.open(path).num_rows
            # Whole episodes, for trajectories, and every other row of the rest.
            known = (np.arange(rows) % 2 == 0) | (np.arange(rows) < rows // 3)
            target = self.stores[split] if poison is None else folder / f"{split}_sound.zarr"
            relabelled(path, target, known)
            if poison is not None:
                poisoned(target, self.stores[split], poison)
            self._write_latents(split)

    def _write_latents(self, split: str) -> None:
        store, generator = EpisodeStore.open(self.stores[split]), np.random.default_rng(0)
        with LatentWriter(
            self.latents[split], episodes=store, lam="lapo", seed=0, latent_dim=4, num_tokens=1, codebook_size=8
        ) as writer:
            latents = generator.normal(size=(store.num_rows, 4)).astype(np.float32)
            writer.append(latents, generator.integers(0, 8, (store.num_rows, 1)))

    def learnt(self, method: str) -> list[torch.Tensor]:
        """All that the stages of a method learn."""
        folder, latent = self.folder / method, METHODS[method]["kind"] == "latent"
        common: dict[str, Any] = {
            "environment": preset(ENV).facts(),
            "method": method,
            "settings": METHODS[method],
            "labels": LABELS,
            "label_draws": LABEL_DRAWS,
            "seed": 0,
            "train": self.stores["train"],
            "latents": self.latents["train"] if latent else None,
        }
        decoders = folder / "decoders.safetensors" if latent or method == "vpt" else None
        if decoders:
            train_action_decoders(**common, output=decoders)
        train_policy(
            **common,
            logging={},
            validation=self.stores["validation"],
            validation_latents=self.latents["validation"] if latent else None,
            decoders=decoders,
            output=folder / "policy.safetensors",
            metrics=folder / "metrics.csv",
            state_dir=folder / "state",
        )
        files = [folder / "policy.safetensors", *([decoders] if decoders else [])]
        found = [read_members(file, env=ENV, method=method, seed=0)[1] for file in files]
        return [tensor for members in found for member in members for tensor in member.values()]


@pytest.fixture(scope="module")
def walks(write_walks: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("walks")
    return {
        split: write_walks(folder / f"{split}.zarr", episodes=12, first_level=level, split=split)
        for split, level in (("train", 0), ("validation", 500))
    }


@pytest.fixture(scope="module")
def worlds(walks: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[World, World]:
    folder = tmp_path_factory.mktemp("worlds")
    return World(walks, folder / "sound", None), World(walks, folder / "poisoned", 3)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_an_action_that_nobody_knows_changes_nothing(method: str, worlds: tuple[World, World]) -> None:
    sound, other = (world.learnt(method) for world in worlds)
    assert len(sound) == len(other) and all(map(torch.equal, sound, other))


def job_of(world: World, method: str) -> Job:
    files = {split: world.stores[split] for split in ("train", "validation")}
    return Job(method, preset(ENV), 0, files, LABELS, LABEL_DRAWS)


def test_policies_in_true_actions_are_validated_on_known_ones(worlds: tuple[World, World]) -> None:
    cloning = ActionCloning(job_of(worlds[0], "bc"), PolicySettings.model_validate(POLICY))
    arrays = EpisodeStore.open(worlds[0].stores["validation"]).load()
    assert cloning.validation is not None
    assert cloning.validation.rows.tolist() == np.flatnonzero(arrays.is_labelled).tolist()


@pytest.fixture(scope="module")
def silent(walks: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> World:
    """Nobody knows an action of it."""
    folder = tmp_path_factory.mktemp("silent")
    world = World(walks, folder, None)
    for path in world.stores.values():
        relabelled(path, path, np.zeros(EpisodeStore.open(path).num_rows, np.bool_))
    return world


def test_methods_that_clone_all_actions_need_one(silent: World) -> None:
    job = job_of(silent, "oracle_bc")
    with pytest.raises(ValueError, match=r"train\.zarr: found no row whose action is known, expected one .*oracle_bc"):
        method_settings(METHODS["oracle_bc"]).build().policies(job)
    assert ActionCloning(job, PolicySettings.model_validate(POLICY)).validation is None


def test_methods_with_labels_say_how_many_there_are(silent: World) -> None:
    with pytest.raises(
        ValueError,
        match=r"train\.zarr: label count 16 transitions: the episodes hold 0 transitions whose actions are known",
    ):
        job_of(silent, "bc").labels_of_members()


LAM = {
    "inverse_dynamics": {"width": 8, "layers": 1, "hidden_width": 16},
    "forward_dynamics": {"width": 8, "layers": 1},
    "quantizer": {"codebooks": 1, "tokens": 1, "code_dim": 4, "codes": 8},
    "training": {"steps": 3, "batch_size": 16, "validate_every": 3, "precision": "float32"},
}


class Recordings:
    """Two recordings of one world in a folder, ``clips`` without actions and ``few`` with those of some rows, and their union, ``both``."""

    def __init__(self, walks: dict[str, Path], folder: Path) -> None:
        self.folder, world = folder, preset(ENV)
        self.specs = {
            "clips": replace(world, name="clips", action=Unknown(), action_names=(), action_classes=()),
            "few": replace(world, name="few"),
        }
        self.specs["both"] = describe(UnionSettings(members=("clips", "few")), "both", self.specs)
        for split, path in walks.items():
            known = np.arange(EpisodeStore.open(path).num_rows) % 2 == 0
            relabelled(path, self.store("clips", split), None, self.specs["clips"])
            relabelled(path, self.store("few", split), known, self.specs["few"])
            join_episodes(
                environment=self.specs["both"].facts(),
                shares=[0.5, 0.5],
                split=split,
                episodes=[self.store(name, split) for name in ("clips", "few")],
                output=self.store("both", split),
            )

    def store(self, name: str, split: str) -> Path:
        return self.folder / name / f"{split}.zarr"

    def trained(self, name: str, **settings: Any) -> Path:
        """The file of a latent action model; its metrics lie beside it."""
        folder = self.folder / name / "lam"
        train_lam(
            environment=self.specs[name].facts(),
            lam="lapo",
            settings=LAM | settings,
            logging={},
            seed=0,
            train=self.store(name, "train"),
            validation=self.store(name, "validation"),
            output=folder / "model.safetensors",
            metrics=folder / "metrics.csv",
            state_dir=folder / "state",
        )
        return folder / "model.safetensors"


@pytest.fixture
def recordings(walks: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recordings:
    monkeypatch.setattr(probe, "PROBE_TRAINING", probe.PROBE_TRAINING.model_copy(update={"steps": 3}))
    return Recordings(walks, tmp_path)


@pytest.mark.slow
def test_a_model_is_learnt_of_recordings_without_actions(
    recordings: Recordings, capsys: pytest.CaptureFixture[str]
) -> None:
    model = recordings.trained("clips")
    assert "probe/" not in (model.parent / "metrics.csv").read_text()
    assert "lapo on clips, seed 0: " in capsys.readouterr().out
    with pytest.raises(
        ValueError, match=r"train\.zarr: label count 5 transitions: the episodes hold 0 transitions whose"
    ):
        recordings.trained("clips", supervision={"labels": 5})


@pytest.mark.slow
def test_one_model_is_learnt_of_recordings_with_and_without_actions(recordings: Recordings) -> None:
    """With labels of the one, and decoders of its latents; also of the recordings without actions."""
    model, latents = recordings.trained("both", supervision={"labels": 5}), recordings.folder / "latents.zarr"
    facts = recordings.specs["both"].facts()
    relabel_episodes(
        environment=facts, lam="lapo", seed=0, model=model, episodes=recordings.store("both", "train"), output=latents
    )
    train_action_decoders(
        environment=facts,
        method="lapo",
        settings=METHODS["lapo"],
        labels=LABELS[:1],
        label_draws=1,
        seed=0,
        train=recordings.store("both", "train"),
        latents=latents,
        output=recordings.folder / "decoders.safetensors",
    )
    assert read_members(recordings.folder / "decoders.safetensors", env="both", method="lapo", seed=0)[0]
    metrics = (model.parent / "metrics.csv").read_text()
    few = EpisodeStore.open(recordings.store("few", "validation"))
    judged = len(labelled_transitions(few.load(frames=False)))
    assert f"validation,probe/judged_transitions,{judged}" in metrics and "supervision/accuracy" in metrics
