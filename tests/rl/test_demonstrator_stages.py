"""From a demonstrator to an episode store: the two stages, and what they refuse."""

import csv
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from lamflow.data.store import EpisodeStore
from lamflow.envs.levels import draw_levels
from lamflow.envs.presets import preset
from lamflow.envs.procgen_family import PROCGEN_RANGES
from lamflow.envs.xland import Timesteps
from lamflow.envs.xland_presets import MINIGRID_ACTIONS
from lamflow.provenance import file_digest
from lamflow.rl.actor_critic import PixelActorCritic
from lamflow.rl.demonstrator_settings import PixelExpertSettings
from lamflow.rl.demonstrators import load_demonstrator, save_expert
from lamflow.rl.pixel_experts import save_pixel_expert
from lamflow.stages.collect_episodes import collect_episodes
from lamflow.stages.train_expert import train_expert

PPO, PLANNED, PIXELS = "xland-empty-random-8x8", "xland-r1-9x9-full", "procgen-dodgeball"
TINY = {"total_steps": 4096, "num_envs": 32, "minibatches": 4}
COLLECTION = {
    "train_episodes": 40,
    "validation_episodes": 8,
    "test_episodes": 8,
    "reference_episodes": 64,
    "num_rulesets": 100,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root: Path = tmp_path_factory.mktemp("demonstrators")
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        train_expert(
            environment=preset(PPO).facts(), settings=TINY, seed=seed, output=root / name / "expert.safetensors"
        )
    train_expert(
        environment=preset(PLANNED).facts(), settings={}, seed=0, output=root / "planned" / "expert.safetensors"
    )
    settings = PixelExpertSettings.model_validate(
        {"network": {"stem": "patch", "channels": [8, 8], "blocks": 1, "hidden_width": 16}}
    )
    torch.manual_seed(0)
    network = PixelActorCritic(settings=settings.network, spec=preset(PIXELS), mask_duplicate_actions=True)
    (root / "pixels").mkdir()
    save_pixel_expert(root / "pixels" / "expert.safetensors", network, settings, 0)
    return root


def collect(folder: Path, expert: str, env: str, output: Path, **changes: object) -> Path:
    collect_episodes(
        environment=preset(env).facts(),
        settings={**COLLECTION, **changes},
        split="train",
        seed=0,
        expert=folder / expert / "expert.safetensors",
        output=output,
    )
    return output


@pytest.mark.slow
def test_training_an_expert_twice_gives_equal_files(folder: Path) -> None:
    first, again, other = ((folder / name / "expert.safetensors").read_bytes() for name in ("first", "again", "other"))
    assert first == again
    assert first != other


def test_metrics_tell_return_losses_and_entropy_by_optimiser_step(folder: Path) -> None:
    with (folder / "first" / "metrics.csv").open() as opened:
        rows = list(csv.DictReader(opened))
    expected = {"return", "loss/total", "loss/value", "loss/policy", "entropy", "optimizer/gradient_norm"}
    assert {row["name"] for row in rows} == expected
    assert len({int(row["step"]) for row in rows}) == 4, "a row a rollout"
    assert (folder / "planned" / "metrics.csv").read_text() == "step,split,name,value\n"
    assert json.loads((folder / "first" / "expert.json").read_text())["settings"]["total_steps"] == 4096


@pytest.mark.slow
def test_the_store_of_a_planner_has_its_returns_and_the_goal_reaching_transitions(folder: Path, tmp_path: Path) -> None:
    path = collect(folder, "planned", PLANNED, tmp_path / "train.zarr")
    store = EpisodeStore.open(path, env=PLANNED)
    arrays = store.load()
    assert arrays.num_episodes == 40
    np.testing.assert_array_equal(arrays.level_seeds, draw_levels(preset(PLANNED), "train", 40, 0, num_rulesets=100))
    assert arrays.terminated.sum() + arrays.truncated.sum() == 40
    assert (arrays.rewards[arrays.terminated] > 0).all()
    attributes = store.attributes
    assert attributes["return_expert"] > 0.95
    assert 0 <= attributes["return_random"] < 0.5
    assert attributes["return_random"] < attributes["return_behaviour"] < 1
    assert json.loads(path.with_suffix(".json").read_text())["inputs"]["expert"]["sha256"]


def put_down(_params: Any, timesteps: Timesteps, _key: jax.Array) -> jax.Array:
    return jnp.full(timesteps.reward.shape, MINIGRID_ACTIONS.index("put down"), jnp.int32)


@pytest.mark.slow
def test_references_that_cannot_normalise_are_said_where_the_data_are_made(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = EpisodeStore.open(collect(folder, "planned", PLANNED, tmp_path / "a.zarr", train_episodes=2))
    assert store.attributes["return_random_error"] > 0
    assert caplog.text == ""
    monkeypatch.setattr("lamflow.rl.xland_demonstrator.load_demonstrator", lambda *_: (put_down, None))
    single = {"train_episodes": 2, "reference_episodes": 1}
    store = EpisodeStore.open(collect(folder, "planned", PLANNED, tmp_path / "b.zarr", **single))
    assert store.attributes["return_expert_error"] is None
    assert f"{PLANNED}: the demonstrator (0) is not above random (" in caplog.text
    assert "collection.reference_episodes" in caplog.text


@pytest.mark.slow
def test_collecting_twice_gives_equal_episodes_and_noise_changes_them(folder: Path, tmp_path: Path) -> None:
    first, again, calm = (
        EpisodeStore.open(collect(folder, "planned", PLANNED, tmp_path / f"{name}.zarr", epsilon=epsilon)).load()
        for name, epsilon in (("a", 0.1), ("b", 0.1), ("c", 0.0))
    )
    assert first.observations.keys() == again.observations.keys() == {"frames", "proprioception", "task"}
    for name, part in first.observations.items():
        np.testing.assert_array_equal(part, again.observations[name])
    np.testing.assert_array_equal(first.actions, again.actions)
    assert len(calm.actions) < len(first.actions), "noise makes episodes longer"


@pytest.mark.slow
def test_a_ppo_expert_collects_too(folder: Path, tmp_path: Path) -> None:
    store = EpisodeStore.open(collect(folder, "first", PPO, tmp_path / "train.zarr"), env=PPO)
    assert store.attributes["epsilon"] == 0.1
    assert store.attributes["num_rulesets"] is None


def collect_pixels(folder: Path, output: Path, **changes: object) -> EpisodeStore:
    settings = {"train_episodes": 10, "reference_episodes": 6, **changes}
    return EpisodeStore.open(collect(folder, "pixels", PIXELS, output, **settings), env=PIXELS)


@pytest.mark.slow
def test_a_store_of_procgen_says_who_played_which_levels_and_how(folder: Path, tmp_path: Path) -> None:
    store = collect_pixels(folder, tmp_path / "train.zarr", sticky=0.25)
    arrays, attributes = store.load(), store.attributes
    np.testing.assert_array_equal(np.sort(arrays.level_seeds), np.sort(draw_levels(preset(PIXELS), "train", 10, 0)))
    assert all(level in PROCGEN_RANGES["train"] for level in arrays.level_seeds.tolist())
    assert not store.final_observations
    assert arrays.num_rows == arrays.num_transitions + 10
    assert "Procgen is under the MIT License" in attributes["licence"]
    assert {"epsilon": 0.1, "sticky": 0.25, "levels": "split"}.items() <= attributes.items()
    assert attributes["expert_sha256"] == file_digest(folder / "pixels" / "expert.safetensors")
    assert attributes["source"] == "dodgeball/easy, ppo demonstrator"
    assert attributes["return_expert"] >= 0
    assert attributes["return_random"] >= 0
    repeated = np.mean(arrays.actions[1:] == arrays.actions[:-1])
    calm = collect_pixels(folder, tmp_path / "calm.zarr").load()
    assert repeated > np.mean(calm.actions[1:] == calm.actions[:-1]) + 0.1


@pytest.mark.slow
def test_collecting_procgen_twice_gives_equal_stores_and_every_split_the_same_references(
    folder: Path, tmp_path: Path
) -> None:
    first, again = (collect_pixels(folder, tmp_path / f"{name}.zarr") for name in ("first", "again"))
    assert first.digest == again.digest
    collect_episodes(
        environment=preset(PIXELS).facts(),
        settings={**COLLECTION, "validation_episodes": 4, "reference_episodes": 6},
        split="validation",
        seed=0,
        expert=folder / "pixels" / "expert.safetensors",
        output=tmp_path / "validation.zarr",
    )
    other = EpisodeStore.open(tmp_path / "validation.zarr")
    for name in ("return_expert", "return_random"):
        assert other.attributes[name] == first.attributes[name]
    assert not set(other.load().level_seeds) & set(first.load().level_seeds)


@pytest.mark.slow
def test_with_all_levels_a_split_does_not_keep_to_its_range(folder: Path, tmp_path: Path) -> None:
    levels = collect_pixels(folder, tmp_path / "train.zarr", levels="all", train_episodes=30).load().level_seeds
    assert any(level not in PROCGEN_RANGES["train"] for level in levels.tolist())


def test_settings_that_do_nothing_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"collection\.sticky: found 0\.5 for xland-r1-9x9-full, expected 0"):
        collect(folder, "planned", PLANNED, tmp_path / "train.zarr", sticky=0.5)
    with pytest.raises(ValueError, match=r"collection\.source: found 'lapo', expected 'expert'"):
        collect(folder, "pixels", PIXELS, tmp_path / "train.zarr", source="lapo")
    assert not list(tmp_path.iterdir())


def test_experts_of_another_environment_network_or_none_at_all_are_refused(folder: Path, tmp_path: Path) -> None:
    expert = folder / "first" / "expert.safetensors"
    with pytest.raises(
        ValueError, match="found the demonstrator of 'xland-empty-random-8x8', expected that of 'xland-doorkey-5x5'"
    ):
        load_demonstrator(preset("xland-doorkey-5x5"), expert)
    with pytest.raises(ValueError, match="found no expert file; run train_expert first"):
        load_demonstrator(preset(PPO), tmp_path / "expert.safetensors")
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(expert.read_bytes()[:1000])
    with pytest.raises(ValueError, match="no readable expert file"):
        load_demonstrator(preset(PPO), damaged)
    save_expert(tmp_path / "other.safetensors", preset(PPO), {"hidden1.bias": np.zeros(4)}, {})
    with pytest.raises(ValueError, match=r"found weights .* run train_expert again"):
        load_demonstrator(preset(PPO), tmp_path / "other.safetensors")


@pytest.mark.parametrize("back", [1, 40, 400])
def test_one_flipped_bit_in_the_weights_of_an_expert_is_noticed(back: int, folder: Path, tmp_path: Path) -> None:
    content = bytearray(folder.joinpath("first", "expert.safetensors").read_bytes())
    content[-back] ^= 1
    tmp_path.joinpath("expert.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"no readable expert file: .*expert\.safetensors: .*its digest does not fit"):
        load_demonstrator(preset(PPO), tmp_path / "expert.safetensors")


def test_an_expert_of_an_earlier_version_which_has_no_digest_is_refused(tmp_path: Path) -> None:
    header = {"format": "lamflow-expert", "format_version": 1, "env": PPO, "demonstrator": "ppo"}
    save_file({"w": np.zeros(2)}, tmp_path / "expert.safetensors", metadata={"lamflow": json.dumps(header)})
    with pytest.raises(ValueError, match=r"it has no digest: an earlier version wrote it.*run its rule again"):
        load_demonstrator(preset(PPO), tmp_path / "expert.safetensors")


def test_an_unknown_split_is_refused_before_anything_is_written(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown split 'dev'; known: train, validation, test"):
        collect_episodes(
            environment=preset(PPO).facts(),
            settings=COLLECTION,
            split="dev",
            seed=0,
            expert=folder / "first" / "expert.safetensors",
            output=tmp_path / "dev.zarr",
        )
    assert not list(tmp_path.iterdir())
