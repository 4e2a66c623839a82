"""Experts of Procgen games as files: trained by the stage, shipped, measured, refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from lamflow.envs.presets import preset
from lamflow.stages.measure_expert import measure_expert
from lamflow.stages.train_expert import train_expert

ENV = "procgen-coinrun"
TINY: dict[str, Any] = {
    "source": "train",
    "total_steps": 2 * 32,
    "num_envs": 4,
    "num_steps": 8,
    "epochs": 1,
    "minibatches": 2,
    "network": {"stem": "patch", "channels": [8, 8], "blocks": 1, "hidden_width": 16},
    "validation_episodes": 2,
}


@pytest.fixture(scope="module")
def expert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("experts")
    train_expert(
        environment=preset(ENV).facts(),
        settings=TINY,
        seed=0,
        output=folder / "expert.safetensors",
        state_dir=folder / "state",
    )
    return folder / "expert.safetensors"


@pytest.mark.slow
def test_training_twice_gives_equal_files_and_returns_are_logged(expert: Path, tmp_path: Path) -> None:
    again = tmp_path / "expert.safetensors"
    train_expert(environment=preset(ENV).facts(), settings=TINY, seed=0, output=again)
    assert again.read_bytes() == expert.read_bytes()
    metrics = expert.with_name("metrics.csv").read_text()
    assert "validation,return," in metrics
    assert "train,loss/policy," in metrics


def test_a_shipped_expert_is_taken_over_byte_by_byte(expert: Path, tmp_path: Path) -> None:
    taken = tmp_path / "expert.safetensors"
    train_expert(environment=preset(ENV).facts(), settings={}, seed=5, output=taken, shipped=expert)
    assert taken.read_bytes() == expert.read_bytes()


def test_the_expert_of_another_game_is_refused(expert: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"expert\.safetensors: found .*procgen-coinrun.* expected the expert of procgen-maze"
    ):
        train_expert(
            environment=preset("procgen-maze").facts(),
            settings={},
            seed=0,
            output=tmp_path / "e.safetensors",
            shipped=expert,
        )


def test_a_damaged_expert_is_refused(expert: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(expert.read_bytes()[:-100])
    with pytest.raises(ValueError, match="damaged"):
        train_expert(
            environment=preset(ENV).facts(), settings={}, seed=0, output=tmp_path / "e.safetensors", shipped=damaged
        )


@pytest.mark.whole
def test_a_card_sets_the_expert_beside_random_and_published_returns(expert: Path, tmp_path: Path) -> None:
    published = {"random (LAPO)": 2.705, "expert (LAPO)": 9.933}
    measure_expert(
        environment=preset(ENV).facts(),
        expert=expert,
        episodes=6,
        published=published,
        seed=0,
        output=tmp_path / "card.md",
    )
    card = json.loads((tmp_path / "returns.json").read_text())
    assert card["published"] == published
    for interval in card["returns"].values():
        assert interval["low"] <= interval["mean"] <= interval["high"]
    assert card["normalized_return_cobbe"] == pytest.approx((card["returns"]["expert"]["mean"] - 5) / 5)
    page = (tmp_path / "card.md").read_text()
    assert "| expert (LAPO) | 9.93 |" in page
    assert "coinrun, easy mode" in page
