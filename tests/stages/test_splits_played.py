"""Levels of the demonstrations, played beside those of the test split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_policy_stages import METHODS, Stages

from lamflow.data.store import EpisodeStore
from lamflow.envs.interface import VectorEnvironment
from lamflow.stages import evaluate_agents as evaluate_module

BOTH = {"episodes": 10, "splits": ["train", "test"]}


@pytest.fixture
def stages(
    world: Any, grid_world: Callable[[int], VectorEnvironment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Stages:
    monkeypatch.setattr(evaluate_module, "make_vector_environment", lambda name, count, **_: grid_world(count))
    first_levels = {"test": 10_000, "train": 20_000}
    monkeypatch.setattr(
        evaluate_module, "draw_levels", lambda env, split, count, *_, **__: np.arange(count) + first_levels[split]
    )
    return Stages(world, tmp_path)


@pytest.mark.parametrize("method", ["oracle_bc", "random"])
def test_test_levels_are_played_as_they_are_without_others(method: str, stages: Stages) -> None:
    if method != "random":
        settings = METHODS[method]
        stages.policy(method, settings=settings | {"policy": settings["policy"] | {"episodes": 7}})
        stages.common = lambda name, common=stages.common: (
            common(name)
            | {  # type: ignore[method-assign]
                "settings": settings | {"policy": settings["policy"] | {"episodes": 7}}
            }
        )
    alone = stages.evaluate(method)
    both = stages.evaluate(method, evaluation=BOTH, train=stages.world.episodes())
    assert [row for row in both if row["split"] == "test"] == alone
    assert len(both) == 2 * len(alone) and {row["split"] for row in alone} == {"test"}
    assert {row["policy_episodes"] for row in both} == {"" if method == "random" else "7"}


def test_levels_of_the_train_split_are_those_of_the_demonstrations(stages: Stages) -> None:
    episodes = EpisodeStore.open(stages.world.episodes()).array("level_seeds")[...].tolist()
    rows = stages.evaluate("random", evaluation=BOTH | {"episodes": 60}, train=stages.world.episodes())
    played = [int(row["level_seed"]) for row in rows if row["split"] == "train"]
    assert set(played) == set(episodes) and len(episodes) == 50
    assert max(map(played.count, played)) == 2, "each equally often"
    fewer = stages.evaluate("random", evaluation=BOTH, train=stages.world.episodes())
    assert [int(row["level_seed"]) for row in fewer if row["split"] == "train"] == played[:10]


def test_where_a_store_does_not_know_its_levels_any_of_the_split_are_played(
    stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = EpisodeStore.array
    unknown = lambda store, name: np.full(50, -1) if name == "level_seeds" else array(store, name)  # noqa: E731
    monkeypatch.setattr(EpisodeStore, "array", unknown)
    rows = stages.evaluate("random", evaluation=BOTH, train=stages.world.episodes())
    assert [int(row["level_seed"]) for row in rows if row["split"] == "train"] == list(range(20_000, 20_010))


def test_levels_of_the_train_split_need_its_store(stages: Stages) -> None:
    with pytest.raises(ValueError, match="method 'random' needs the file 'train', and got none"):
        stages.evaluate("random", evaluation=BOTH)
