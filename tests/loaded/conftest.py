"""Results of a small experiment on the grid world, in the layout of the workflow, with all that agents are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lamflow.envs.interface import VectorEnvironment
from lamflow.envs.presets import preset
from lamflow.lam import probe
from lamflow.stages import evaluate_agents as evaluate_module
from lamflow.stages.evaluate_agents import evaluate_agents
from lamflow.stages.relabel_episodes import relabel_episodes
from lamflow.stages.train_action_decoders import train_action_decoders
from lamflow.stages.train_lam import train_lam
from lamflow.stages.train_policy import train_policy

ENV = "xland-empty-random-8x8-full"
NETWORK = {"width": 8, "layers": 2, "hidden_width": 16}
TRAINING = {"steps": 8, "batch_size": 32, "log_every": 4, "validate_every": 4, "checkpoint_every": 8}
POLICY = {"network": {**NETWORK, "pooling": "flatten"}, "training": TRAINING}
LAM = {
    "quantizer": {"codebooks": 1, "tokens": 1, "code_dim": 4, "codes": 6},
    "inverse_dynamics": NETWORK,
    "forward_dynamics": NETWORK,
    "training": TRAINING,
}
METHODS: dict[str, dict[str, Any]] = {
    "lapo": {
        "kind": "latent",
        "lam": "lapo",
        "policy": POLICY | {"context": 2},
        "decoder": {"hidden_widths": [8], "training": TRAINING},
        "action_selection": "argmax",
    },
    "dictionary": {
        "kind": "latent",
        "lam": "lapo",
        "target": "codes",
        "policy": POLICY,
        "decoder": {"kind": "dictionary"},
    },
    "one_budget": {
        "kind": "latent",
        "lam": "lapo",
        "policy": POLICY,
        "decoder": {"training": TRAINING},
        "action_selection": "argmax",
    },
    "bc": {"kind": "bc", "policy": POLICY | {"context": 2, "recurrent": True}, "action_selection": "argmax"},
    "random": {"kind": "random"},
}
LABELS, DRAWS, EPISODES = (16, 64), 2, 6
OTHER_LABELS: dict[str, tuple[tuple[int, ...], int]] = {"one_budget": ((16,), 1)}
"""Label counts and draws of methods that have not these."""


class Results:
    """The paths of an experiment's results."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def store(self, split: str) -> Path:
        return self.root / "data" / ENV / f"{split}.zarr"

    def latents(self, split: str) -> Path:
        return self.root / "latents" / ENV / "lapo" / "seed0" / f"{split}.zarr"

    def folder(self, kind: str, method: str) -> Path:
        return self.root / kind / ENV / method / "seed0"

    @property
    def lam(self) -> Path:
        return self.folder("lam", "lapo") / "model.safetensors"


def make_lam(results: Results) -> None:
    train_lam(
        environment=preset(ENV).facts(),
        lam="lapo",
        settings=LAM,
        logging={},
        seed=0,
        train=results.store("train"),
        validation=results.store("validation"),
        output=results.lam,
        metrics=results.lam.with_name("metrics.csv"),
        state_dir=results.root / "state",
    )
    for split in ("train", "validation"):
        relabel_episodes(
            environment=preset(ENV).facts(),
            lam="lapo",
            seed=0,
            model=results.lam,
            episodes=results.store(split),
            output=results.latents(split),
        )


def make_method(results: Results, method: str) -> None:
    settings = METHODS[method]
    common = {"environment": preset(ENV).facts(), "method": method, "settings": settings, "seed": 0}
    labels, draws = OTHER_LABELS.get(method, (LABELS, DRAWS))
    common |= {"labels": labels, "label_draws": draws}
    latent = settings["kind"] == "latent"
    policy, decoders = (
        results.folder(kind, method) / f"{name}.safetensors"
        for kind, name in (("policies", "policy"), ("decoders", "decoders"))
    )
    if latent:
        train_action_decoders(**common, train=results.store("train"), latents=results.latents("train"), output=decoders)
    if method != "random":
        train_policy(
            **common,
            logging={},
            train=results.store("train"),
            validation=results.store("validation"),
            latents=results.latents("train") if latent else None,
            validation_latents=results.latents("validation") if latent else None,
            decoders=None,
            output=policy,
            metrics=policy.with_name("metrics.csv"),
            state_dir=results.root / "state",
        )
    evaluate_agents(
        **common,
        evaluation={"episodes": EPISODES},
        collection={},
        episodes=results.store("test"),
        policy=None if method == "random" else policy,
        decoders=decoders if latent else None,
        output=results.folder("evaluation", method) / "returns.csv",
    )


@pytest.fixture(scope="session")
def results(
    write_walks: Callable[..., Path],
    grid_world: Callable[[int], VectorEnvironment],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Results]:
    found = Results(tmp_path_factory.mktemp("checkout") / "results" / "small")
    for number, (split, episodes) in enumerate({"train": 30, "validation": 8, "test": 8}.items()):
        write_walks(found.store(split), episodes=episodes, first_level=1000 * number, split=split)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe, "PROBE_TRAINING", probe.PROBE_TRAINING.model_copy(update={"steps": 3}))
        patch.setattr(evaluate_module, "make_vector_environment", lambda spec, count, **_: grid_world(count))
        patch.setattr(evaluate_module, "draw_levels", lambda spec, split, count, *_, **__: np.arange(count) + 5000)
        make_lam(found)
        for method in METHODS:
            make_method(found, method)
    yield found
