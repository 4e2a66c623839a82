"""Online methods on a small world: from the latent policy to returns and a learning curve."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from lamflow.envs.presets import preset
from lamflow.evaluation.columns import CURVE_COLUMNS
from lamflow.evaluation.results import read_agent_returns
from lamflow.stages.evaluate_agents import evaluate_agents
from lamflow.stages.finetune_online import finetune_online
from lamflow.stages.train_policy import train_policy
from lamflow.training.checkpoint import read_model

ENV = "xland-empty-random-8x8-full"
NETWORK = {"width": 8, "layers": 2, "hidden_width": 16, "pooling": "flatten"}
LATENT = {
    "kind": "latent",
    "lam": "lapo",
    "policy": {"network": NETWORK, "training": {"steps": 6, "batch_size": 32, "log_every": 3, "validate_every": 3}},
}
SOON = {"starts_at": 64, "full_at": 64}
ONLINE = {
    "kind": "online",
    "of": "lapo",
    "ppo": {
        "num_envs": 4,
        "num_steps": 16,
        "total_steps": 3 * 64,
        "minibatches": 2,
        **dict.fromkeys(("policy_head", "value_head", "hidden_layer"), SOON),
    },
    "decoder": {"hidden_widths": [8], "first_fit": 64, "last_fit": 128, "buffer_size": 100},
}


@pytest.fixture(scope="module")
def policy(world: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The latent policy that is fine-tuned."""
    folder = tmp_path_factory.mktemp("lapo")
    train_policy(
        environment=preset(ENV).facts(),
        method="lapo",
        settings=LATENT,
        logging={},
        labels=[],
        label_draws=1,
        seed=0,
        train=world.episodes(),
        validation=world.episodes("validation"),
        latents=world.latents("lapo"),
        validation_latents=world.latents("lapo", "validation"),
        decoders=None,
        output=folder / "policy.safetensors",
        metrics=folder / "metrics.csv",
        state_dir=folder / "state",
    )
    return folder / "policy.safetensors"


def finetune(world: Any, latent_policy: Path | None, folder: Path, variant: str, **changes: Any) -> Path:
    arguments: dict[str, Any] = {
        "environment": preset(ENV).facts(),
        "method": "online",
        "settings": ONLINE | {"variant": variant},
        "latent": LATENT,
        "collection": {},
        "logging": {},
        "seed": 0,
        "episodes": world.episodes("test"),
        "policy": latent_policy if variant != "scratch" else None,
        "lam": world.model("lapo") if variant == "rl_sl" else None,
        "output": folder / "agent.safetensors",
        "curve": folder / "curve.csv",
        "metrics": folder / "metrics.csv",
        "state_dir": folder / "state",
    }
    finetune_online(**(arguments | changes))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["rl_sl", "rl", "scratch"])
def test_a_variant_goes_all_the_way_to_its_returns(variant: str, world: Any, policy: Path, tmp_path: Path) -> None:
    folder = finetune(world, policy, tmp_path / "online", variant)
    with folder.joinpath("curve.csv").open() as opened:
        header, *rows = csv.reader(opened)
    assert tuple(header) == CURVE_COLUMNS
    assert [row[:4] for row in rows] == [[ENV, "online", "0", str(64 * rollout)] for rollout in (0, 1, 2)]
    assert not list(tmp_path.rglob("checkpoint-*"))
    evaluate_agents(
        environment=preset(ENV).facts(),
        method="online",
        settings=ONLINE | {"variant": variant},
        evaluation={"episodes": 6},
        collection={},
        labels=[],
        label_draws=1,
        seed=0,
        episodes=world.episodes("test"),
        policy=None,
        online_agent=folder / "agent.safetensors",
        decoders=None,
        output=tmp_path / "returns.csv",
    )
    returns = read_agent_returns(tmp_path / "returns.csv")
    assert len(returns) == 6 and set(returns["labels"]) == {"online"}


@pytest.mark.slow
def test_the_same_run_gives_the_same_bytes(world: Any, policy: Path, tmp_path: Path) -> None:
    one, two = (finetune(world, policy, tmp_path / name, "rl_sl") for name in ("one", "two"))
    for name in ("agent.safetensors", "curve.csv", "metrics.csv"):
        assert one.joinpath(name).read_bytes() == two.joinpath(name).read_bytes()


@pytest.mark.slow
def test_the_file_says_what_it_is_of(world: Any, policy: Path, tmp_path: Path) -> None:
    _, header = read_model(finetune(world, policy, tmp_path, "rl_sl") / "agent.safetensors")
    assert {key: header[key] for key in ("kind", "env", "method", "seed", "variant")} == {
        "kind": "online",
        "env": ENV,
        "method": "online",
        "seed": 0,
        "variant": "rl_sl",
    }


def test_what_is_missing_is_named(world: Any, policy: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs the policy file of the method that it fine-tunes, and got none"):
        finetune(world, None, tmp_path, "rl")
    with pytest.raises(ValueError, match="needs the model file of the LAM that labels, and got none"):
        finetune(world, policy, tmp_path, "rl_sl", lam=None)
    with pytest.raises(ValueError, match="found a model of kind 'policy', expected 'lam'"):
        finetune(world, policy, tmp_path, "rl_sl", lam=policy)
