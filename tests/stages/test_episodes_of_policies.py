"""Policies of a part of the train split's episodes: what they are trained on, and what they never see."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_policy_stages import METHODS, TRAINING, Stages

from lamflow.data.labels import draw_episodes
from lamflow.data.store import EpisodeArrays, EpisodeStore, EpisodeWriter
from lamflow.data.tensors import EpisodeTensors
from lamflow.envs.interface import Episode
from lamflow.methods import cloning as cloning_module
from lamflow.methods.settings import method_settings
from lamflow.policies.learning import Examples
from lamflow.policies.members import read_members

COUNT = 7
QUICK = {"steps": 2, "batch_size": 16, "log_every": 1, "validate_every": 2}


def of_some(method: str, **also: Any) -> dict[str, Any]:
    """The settings of a method whose policy gets so many episodes, and two steps of training."""
    settings = METHODS[method]
    return settings | {"policy": settings["policy"] | {"episodes": COUNT, "training": TRAINING | QUICK}} | also


def episodes_of(arrays: EpisodeArrays) -> list[Episode]:
    stops = [*arrays.episode_starts[1:].tolist(), arrays.num_rows]
    return [
        Episode(
            observations={name: part[start:stop] for name, part in arrays.observations.items()},
            actions=arrays.actions[start : stop - 1],
            rewards=arrays.rewards[start : stop - 1],
            terminated=bool(arrays.terminated[start:stop].any()),
            truncated=bool(arrays.truncated[start:stop].any()),
            level_id=level,
        )
        for start, stop, level in zip(arrays.episode_starts.tolist(), stops, arrays.level_seeds.tolist(), strict=True)
    ]


@pytest.fixture
def rewritten(world: Any, tmp_path: Path) -> Callable[[str, Callable[[int], bool]], Path]:
    """Writes the train split again, with all actions turned into others in the episodes that are chosen."""

    def write(name: str, chosen: Callable[[int], bool]) -> Path:
        store = EpisodeStore.open(world.episodes())
        path = tmp_path / name
        attributes = {key: store.attributes[key] for key in ("source", "licence", "return_expert", "return_random")}
        with EpisodeWriter(path, spec=store.spec, split="train", attributes=attributes) as writer:
            for number, episode in enumerate(episodes_of(store.load())):
                turned = replace(episode, actions=(episode.actions + 1) % store.spec.num_actions)
                writer.append(turned if chosen(number) else episode)
        return path

    return write


def weights_of(path: Path, method: str) -> list[dict[str, torch.Tensor]]:
    return read_members(path, env="xland-empty-random-8x8-full", method=method, seed=0)[1]


def same(ours: list[dict[str, torch.Tensor]], theirs: list[dict[str, torch.Tensor]]) -> bool:
    return all(torch.equal(a[name], b[name]) for a, b in zip(ours, theirs, strict=True) for name in a)


def test_a_policy_depends_on_no_episode_but_those_that_it_is_trained_on(
    rewritten: Callable[..., Path], world: Any, tmp_path: Path
) -> None:
    drawn = draw_episodes(50, COUNT, seed=0)
    assert drawn is not None
    stores = {
        "as it was": world.episodes(),
        "others changed": rewritten("others.zarr", lambda number: number not in drawn),
        "one of them changed": rewritten("own.zarr", lambda number: number == drawn[0]),
    }
    trained = {
        name: weights_of(
            Stages(world, tmp_path / name).policy("oracle_bc", train=path, settings=of_some("oracle_bc")), "oracle_bc"
        )
        for name, path in stores.items()
    }
    assert same(trained["as it was"], trained["others changed"])
    assert not same(trained["as it was"], trained["one of them changed"])


def test_a_labeller_depends_on_no_action_of_other_episodes_than_its_labels_are_of(
    rewritten: Callable[..., Path], world: Any, tmp_path: Path
) -> None:
    drawn = draw_episodes(50, COUNT, seed=0)
    assert drawn is not None
    changed = rewritten("others.zarr", lambda number: number not in drawn)
    given = {"labels": (16,), "label_draws": 1}
    settings = {
        name: METHODS["vpt"] | {"decoder": {"hidden_widths": [8], "training": TRAINING | QUICK}} | also
        for name, also in (("some", {"labeller_episodes": COUNT}), ("all", {}))
    }
    found = {
        (name, path.name): weights_of(
            Stages(world, tmp_path / name / path.name).decoders("vpt", train=path, settings=chosen, **given), "vpt"
        )
        for name, chosen in settings.items()
        for path in (world.episodes(), changed)
    }
    assert same(found["some", "train.zarr"], found["some", "others.zarr"])
    assert not same(found["all", "train.zarr"], found["all", "others.zarr"])


@pytest.mark.parametrize("method", ["lapo", "vpt", "oracle_bc"])
def test_every_method_that_clones_episodes_takes_the_same_ones(
    method: str, world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Examples] = []
    learn = cloning_module.clone

    def clone(**arguments: Any) -> Any:
        seen.append(arguments["train_examples"])
        return learn(**arguments)

    monkeypatch.setattr(cloning_module, "clone", clone)
    path = Stages(world, tmp_path).policy(method, settings=of_some(method))
    arrays = EpisodeStore.open(world.episodes()).load(frames=False)
    drawn = draw_episodes(50, COUNT, seed=0)
    stops = np.append(arrays.episode_starts[1:], arrays.num_rows)
    assert drawn is not None
    expected = [row for episode in drawn for row in range(arrays.episode_starts[episode], stops[episode] - 1)]
    assert seen and all(examples.rows.tolist() == expected for examples in seen)
    said = json.loads(path.with_suffix(".json").read_text())["settings"]
    assert said["policy"]["episodes"] == COUNT == method_settings(said).policy_episodes


def test_the_moments_of_some_episodes_are_those_of_a_store_of_them_alone(walks: EpisodeArrays) -> None:
    data, drawn = EpisodeTensors(walks), np.array([3, 40, 77])
    part = data.of_episodes(drawn)
    stops = np.append(walks.episode_starts[1:], walks.num_rows)
    rows = [row for episode in drawn for row in range(walks.episode_starts[episode], stops[episode])]
    assert part.action_rows.tolist() == [row for row in rows if walks.acted[row]]
    assert data.of_episodes(None) is data and len(data.rows) > len(part.rows)
    floats = replace(
        walks,
        observations=walks.observations | {"speed": np.random.default_rng(0).random((walks.num_rows, 2), np.float32)},
    )
    vectors = EpisodeTensors(floats)
    mean, deviation = vectors.of_episodes(drawn).moments()["speed"]
    speed = floats.observations["speed"][rows].astype(float)
    assert mean.numpy() == pytest.approx(speed.mean(0)) and deviation.numpy() == pytest.approx(speed.std(0))
    assert not torch.equal(mean, vectors.moments()["speed"][0])


def test_more_episodes_than_the_store_holds_are_refused(world: Any, tmp_path: Path) -> None:
    settings = METHODS["oracle_bc"]
    asked = settings | {"policy": settings["policy"] | {"episodes": 51}}
    with pytest.raises(ValueError, match=r"train\.zarr: found 50 episodes, expected at least the 51"):
        Stages(world, tmp_path).policy("oracle_bc", settings=asked)


def test_a_method_that_is_trained_on_labels_alone_takes_no_number_of_episodes() -> None:
    with pytest.raises(ValueError, match=r"policy\.episodes: found 5, expected all: policies of kind 'bc'"):
        method_settings({"kind": "bc", "policy": {"episodes": 5}})
    assert method_settings({"kind": "bc"}).policy_episodes is None
    assert method_settings({"kind": "oracle_bc"}).policy_episodes == "all"
