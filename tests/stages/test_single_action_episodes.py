"""Episodes of one action, whose next frame nobody has seen: they are passed over, and a split of nothing else is named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lamflow.data.label_budgets import LabelBudget
from lamflow.data.labels import draw_labels
from lamflow.data.store import EpisodeStore, EpisodeWriter
from lamflow.data.windows import Window
from lamflow.envs.interface import Episode
from lamflow.envs.presets import preset
from lamflow.lam.one_step import OneStepLam
from lamflow.lam.one_step_settings import OneStepSettings
from lamflow.policies.inverse_dynamics import ActionLabeller
from lamflow.stages.plot_code_actions import plot_code_actions
from lamflow.stages.plot_film_strip import plot_film_strip
from lamflow.stages.plot_latent_space import plot_latent_space
from lamflow.stages.relabel_episodes import relabel_episodes
from lamflow.stages.train_action_decoders import train_action_decoders
from lamflow.stages.train_lam import train_lam
from lamflow.stages.train_policy import train_policy

ENV = "xland-empty-random-8x8-full"
NETWORK = {"width": 4, "layers": 1, "hidden_width": 8}
TRAINING = {"steps": 2, "batch_size": 4, "validate_every": 1}
QUANTIZER = {"codebooks": 1, "tokens": 1, "code_dim": 4, "codes": 6}
LAM = {"quantizer": QUANTIZER, "inverse_dynamics": NETWORK, "forward_dynamics": NETWORK, "training": TRAINING}
POLICY = {"network": NETWORK, "training": TRAINING}
RECURRENT = POLICY | {"context": 2, "recurrent": True}
METHODS: dict[str, dict[str, Any]] = {
    "lapo": {"kind": "latent", "lam": "lapo", "policy": RECURRENT, "decoder": {"training": TRAINING}},
    "bc": {"kind": "bc", "policy": POLICY},
    "vpt": {"kind": "vpt", "inverse_dynamics": NETWORK, "policy": POLICY, "decoder": {"training": TRAINING}},
    "oracle_bc": {"kind": "oracle_bc", "policy": POLICY},
}
TRAIN, VALIDATION = (1, 4, 1, 1, 6, 1, 3, 1), (1, 3, 1)
LABELS = ["3 trajectories", 8]


def write(path: Path, lengths: Sequence[int], split: str = "train") -> Path:
    """Episodes of so many random actions without their final observations."""
    spec, generator = preset(ENV), np.random.default_rng(len(lengths))
    attributes = {"source": "a test", "licence": "MIT", "final_observations": False}
    with EpisodeWriter(path, spec=spec, split=split, attributes=attributes) as writer:
        for length in lengths:
            frames = generator.integers(0, spec.category_sizes, (length, *spec.frame_shape))
            writer.append(
                Episode(
                    observations={"frames": frames.astype(np.uint8), "proprioception": np.zeros((length, 3), np.uint8)},
                    actions=generator.integers(0, 3, length),
                    rewards=np.zeros(length, np.float32),
                    terminated=True,
                    truncated=False,
                    level_id=0,
                )
            )
    return path


class Stages:
    """Runs the stages in a folder; ``changes``: other arguments."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.train = write(folder / "train.zarr", TRAIN)
        self.validation = write(folder / "validation.zarr", VALIDATION, "validation")
        self.model = folder / "lam" / "model.safetensors"

    def lam(self, **changes: Any) -> None:
        arguments: dict[str, Any] = {"train": self.train, "validation": self.validation, "settings": LAM}
        out = {"output": self.model, "metrics": self.folder / "lam.csv", "state_dir": self.folder / "lam" / "state"}
        train_lam(
            **(
                {"environment": preset(ENV).facts(), "lam": "lapo", "logging": {}, "seed": 0}
                | out
                | arguments
                | changes
            )
        )

    def latents(self, split: str) -> Path:
        output = self.folder / "lam" / f"{split}.zarr"
        if not output.exists():
            episodes = self.folder / f"{split}.zarr"
            relabel_episodes(
                environment=preset(ENV).facts(), lam="lapo", seed=0, model=self.model, episodes=episodes, output=output
            )
        return output

    def method(self, method: str, **changes: Any) -> None:
        """Its decoders, where it has some, and its policy."""
        folder, latent = self.folder / method, METHODS[method]["kind"] == "latent"
        common: dict[str, Any] = {
            "environment": preset(ENV).facts(),
            "method": method,
            "settings": METHODS[method],
            "labels": LABELS,
        }
        common |= {
            "label_draws": 2,
            "seed": 0,
            "train": self.train,
            "latents": self.latents("train") if latent else None,
        }
        common |= changes
        if latent or method == "vpt":
            decoders = {key: common[key] for key in common if key != "validation"}
            train_action_decoders(**decoders, output=folder / "decoders.safetensors")
        train_policy(
            **({"validation": self.validation} | common),
            logging={},
            validation_latents=self.latents("validation") if latent else None,
            decoders=folder / "decoders.safetensors" if method == "vpt" else None,
            output=folder / "policy.safetensors",
            metrics=folder / "metrics.csv",
            state_dir=folder / "state",
        )


@pytest.fixture
def stages(tmp_path: Path, quick_probes: None) -> Stages:
    return Stages(tmp_path)


@pytest.mark.slow
def test_every_stage_passes_over_episodes_of_one_action(stages: Stages) -> None:
    stages.lam()
    for method in METHODS:
        stages.method(method)
    latents, shown = stages.latents("train"), {"episodes": stages.train}
    plot_latent_space(**shown, latents=[latents], output=stages.folder / "space.svg")
    plot_code_actions(**shown, latents=latents, output=stages.folder / "codes.svg")
    plot_film_strip(**shown, model=stages.model, latents=latents, output=stages.folder / "strip.svg")


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_split_of_nothing_but_single_actions_is_named(split: str, stages: Stages) -> None:
    stages.lam()
    none = write(stages.folder / "none.zarr", (1, 1), split)
    message = (
        r"none\.zarr: found 2 episode\(s\) of one action each, without a next frame, expected at least one transition"
    )
    with pytest.raises(ValueError, match=message):
        stages.lam(**{split: none})
    if split == "train":
        for method in ("bc", "vpt"):
            with pytest.raises(ValueError, match=message):
                stages.method(method, train=none)
    stages.method("oracle_bc", **{split: none})  # it learns from actions alone


def test_more_labelled_episodes_than_have_a_transition_are_refused_with_store_budget_and_draw(stages: Stages) -> None:
    message = (
        r"train\.zarr: label count 4 trajectories: the episodes hold 3 trajectories, expected 1 to 3 \(5 episodes without a "
        r"transition do not count\), in label draw 0"
    )
    for method in ("bc", "vpt"):
        with pytest.raises(ValueError, match=message):
            stages.method(method, labels=["4 trajectories"])


@pytest.mark.slow
def test_a_single_transition_is_enough_to_learn_from(stages: Stages) -> None:
    one = write(stages.folder / "one.zarr", (1, 2, 1))
    stages.lam(train=one)
    values = [line.split(",")[-1] for line in (stages.folder / "lam.csv").read_text().splitlines()[1:]]
    assert len(values) > 10 and np.isfinite(np.array(values, float)).all()


@pytest.mark.parametrize(
    ("env", "networks"),
    [
        (ENV, {"inverse_dynamics": NETWORK, "forward_dynamics": NETWORK, "symmetry": "rotation"}),
        ("procgen-jumper", {"inverse_dynamics": {"kind": "impala"}, "forward_dynamics": {"kind": "unet"}}),
    ],
)
def test_rows_without_a_transition_are_labelled_with_nothing(env: str, networks: dict[str, Any]) -> None:
    spec = preset(env)
    windows = torch.zeros(0, 3, *spec.frame_shape, dtype=torch.uint8)
    settings = OneStepSettings.model_validate({"quantizer": QUANTIZER} | networks)
    labels = OneStepLam(settings=settings, spec=spec).eval().label(Window.of_frames(windows))
    assert labels.continuous.shape == (0, 4) and labels.codes.shape == (0, 1)
    labeller = ActionLabeller(settings=settings.inverse_dynamics, symmetry=settings.symmetry, spec=spec)
    assert labeller(windows).shape == (0, spec.num_actions)


def test_labels_of_all_episodes_with_a_transition_are_their_transitions(tmp_path: Path) -> None:
    arrays = EpisodeStore.open(write(tmp_path / "train.zarr", TRAIN)).load()
    rows = draw_labels(arrays, LabelBudget(3, "trajectories"), draw=0, seed=0)
    assert sorted(rows.tolist()) == [1, 2, 3, 7, 8, 9, 10, 11, 14, 15]
