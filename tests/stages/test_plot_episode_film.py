"""The film of demonstrator and agents, on the real simulator."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lamflow.data.label_budgets import ALL_LABELS
from lamflow.data.store import EpisodeArrays, EpisodeStore, EpisodeWriter
from lamflow.envs.interface import Episode
from lamflow.envs.levels import draw_levels
from lamflow.envs.presets import preset
from lamflow.envs.registry import make_vector_environment
from lamflow.evaluation.recording import record_agent
from lamflow.methods.bc_settings import BcMethodSettings
from lamflow.methods.latent_settings import LatentMethodSettings
from lamflow.policies.actions import DiscreteActions
from lamflow.policies.agents import RandomAgent
from lamflow.policies.dictionary_decoder import code_action_table
from lamflow.policies.members import Member, label_members, save_members
from lamflow.policies.network import PolicyNetwork
from lamflow.rl.pixel_rollouts import play_episodes
from lamflow.stages import plot_episode_film as film_stage
from lamflow.stages.plot_episode_film import plot_episode_film, shown_episode

ENV = "xland-doorkey-5x5"
SMALL: dict[str, Any] = {"network": {"width": 8, "layers": 1, "hidden_width": 8}}
NUM_CODES = 4
RANDOM = {"method": "random", "settings": {"kind": "random"}, "labels": [], "label_draws": 1}


@pytest.fixture(scope="module")
def episodes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A test store of two episodes of random actions."""
    path = tmp_path_factory.mktemp("episodes") / "test.zarr"
    environment = make_vector_environment(preset(ENV), 1)
    agent = RandomAgent(DiscreteActions(6), seed=0)
    attributes = {"source": "test", "licence": "MIT", "num_rulesets": None}
    with EpisodeWriter(path, spec=preset(ENV), split="test", attributes=attributes) as writer:
        for level in draw_levels(preset(ENV), "test", 2, seed=0):
            writer.append(record_agent(agent, 0, environment, int(level)))
    return path


def write_agents(folder: Path) -> dict[str, Any]:
    """Untrained agents of a latent method and of BC; the arguments of the stage that name them."""
    spec = preset(ENV)
    bc = BcMethodSettings.model_validate({"kind": "bc", "policy": SMALL})
    latent = LatentMethodSettings.model_validate(
        {"lam": "codes", "target": "codes", "policy": SMALL, "decoder": {"kind": "dictionary"}}
    )
    members = label_members([16, 64], 2)
    for name, method, held, outputs in (
        ("latent", latent, [Member(ALL_LABELS, 0)], NUM_CODES),
        ("bc", bc, members, spec.num_actions),
    ):
        networks = [PolicyNetwork(settings=method.policy, spec=spec, output_dim=outputs).state_dict() for _ in held]
        header = {"env": ENV, "method": name, "seed": 0, "output_dim": outputs}
        header["settings"] = method.policy.model_dump(mode="json")
        save_members(folder / f"{name}.safetensors", held, networks, header)
    empty = torch.zeros(0, dtype=torch.long)
    table = code_action_table(empty, empty, num_codes=NUM_CODES, num_actions=spec.num_actions, smoothing=0.1)
    header = {"env": ENV, "method": "latent", "seed": 0, "decoder": "dictionary", "target": "codes", "num_tokens": 1}
    header["num_codes"] = NUM_CODES
    save_members(folder / "decoders.safetensors", members, [{"table": table.clone()} for _ in members], header)
    agents: list[dict[str, Any]] = [
        {"method": name, "settings": part.model_dump(mode="json"), "labels": [16, 64], "label_draws": 2}
        for name, part in (("latent", latent), ("bc", bc))
    ]
    return {
        "agents": [*agents, RANDOM],
        "files": [folder / f"{name}.safetensors" for name in ("latent", "decoders", "bc")],
    }


@pytest.mark.slow
def test_the_film_shows_the_demonstrator_and_every_agent_on_its_level(episodes: Path, tmp_path: Path) -> None:
    output = tmp_path / "episode_film.gif"
    plot_episode_film(
        environment=preset(ENV).facts(),
        **write_agents(tmp_path),
        shown_labels=64,
        action_selection="sample",
        seed=0,
        episodes=episodes,
        output=output,
    )
    with Image.open(output) as film:
        assert film.n_frames > 1
        assert film.width > 4 * 280
    provenance = json.loads(output.with_suffix(".json").read_text())
    assert provenance["settings"]["level"] == shown_episode(EpisodeStore.open(episodes).load()).level_id
    assert len(provenance["inputs"]) == 4


def test_agents_of_other_label_counts_are_refused(episodes: Path, tmp_path: Path) -> None:
    given = write_agents(tmp_path)
    given["agents"][0]["labels"] = [16]
    with pytest.raises(ValueError, match="other label counts or draws"):
        plot_episode_film(
            environment=preset(ENV).facts(),
            **given,
            shown_labels=16,
            action_selection="sample",
            seed=0,
            episodes=episodes,
            output=tmp_path / "episode_film.gif",
        )


PIXELS = "procgen-starpilot"


class Idle:
    """Does nothing."""

    spec = preset(PIXELS)

    def act(self, frames: np.ndarray) -> np.ndarray:
        return np.full(len(frames), 4)


def write_pixel_episodes(path: Path, *, level: int | None = None, **attributes: str) -> list[Episode]:
    """A test store of three episodes; ``level`` replaces what the store knows of their levels."""
    played = list(play_episodes(Idle(), draw_levels(preset(PIXELS), "test", 3, seed=0)))
    given = {"source": "test", "licence": "MIT", **attributes}
    with EpisodeWriter(path, spec=Idle.spec, split="test", attributes=given) as writer:
        for episode in played:
            writer.append(episode if level is None else replace(episode, level_id=level))
    return played


def film_pixels(folder: Path) -> dict[str, Any]:
    """The film of random and an untrained BC beside the demonstrator of ``folder / test.zarr``; its provenance."""
    network = {"kind": "impala", "stem": "patch", "channels": [8, 8], "blocks": 1, "hidden_width": 16}
    bc = BcMethodSettings.model_validate({"kind": "bc", "policy": {"network": network}})
    members = label_members([16], 1)
    weights = [PolicyNetwork(settings=bc.policy, spec=Idle.spec, output_dim=15).state_dict() for _ in members]
    header = {"env": PIXELS, "method": "bc", "seed": 0, "output_dim": 15}
    header["settings"] = bc.policy.model_dump(mode="json")
    save_members(folder / "bc.safetensors", members, weights, header)
    plot_episode_film(
        environment=preset(PIXELS).facts(),
        agents=[
            {"method": "bc", "settings": bc.model_dump(mode="json"), "labels": [16], "label_draws": 1},
            RANDOM,
        ],
        files=[folder / "bc.safetensors"],
        shown_labels=16,
        action_selection="sample",
        seed=0,
        episodes=folder / "test.zarr",
        output=folder / "episode_film.gif",
    )
    settings: dict[str, Any] = json.loads((folder / "episode_film.json").read_text())["settings"]
    return settings


@pytest.mark.slow
def test_a_film_of_procgen_shows_the_simulators_large_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(film_stage, "MOST_PIXEL_STEPS", 40)
    played = write_pixel_episodes(tmp_path / "test.zarr", expert_sha256="0" * 64)
    settings = film_pixels(tmp_path)
    median = sorted(played, key=lambda episode: episode.length)[1]
    assert settings["level"] == median.level_id
    with Image.open(tmp_path / "episode_film.gif") as film:
        assert film.width > 3 * 256
        assert 20 <= film.n_frames <= 40
        first = np.asarray(film.convert("RGB"))
    assert (tmp_path / "episode_film.gif").stat().st_size < 6_000_000
    blocks = first[50 : 50 + 192, 20 : 20 + 192].reshape(48, 4, 48, 4, 3)
    assert (np.ptp(blocks.astype(int), axis=(1, 3)) > 0).any(), "more detail than a frame of 64 x 64 has"


@pytest.mark.slow
@pytest.mark.parametrize("level", [-1, None])
def test_pictures_of_data_that_the_simulator_may_not_repeat_are_the_stored_frames(
    level: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(film_stage, "MOST_PIXEL_STEPS", 10)
    replayed = []
    real = film_stage.render_video
    monkeypatch.setattr(
        film_stage, "render_video", lambda *given, **options: replayed.append(given[1]) or real(*given, **options)
    )
    write_pixel_episodes(tmp_path / "test.zarr", level=level)
    settings = film_pixels(tmp_path)
    assert replayed == [settings["level"]] * 2, "the agents'; the demonstrator's frames are shown as they are"
    assert settings["level"] >= 0


def arrays_of(lengths: list[int], solved: list[bool]) -> EpisodeArrays:
    rows = sum(lengths) + len(lengths)
    starts = np.cumsum([0, *(length + 1 for length in lengths[:-1])])
    actions, rewards, terminated = np.zeros(rows, np.int64), np.zeros(rows, np.float32), np.zeros(rows, bool)
    for start, length, success in zip(starts, lengths, solved, strict=True):
        actions[start + length] = -1
        rewards[start + length - 1] = terminated[start + length - 1] = success
    frames, levels = np.zeros((rows, 5, 5, 2), np.uint8), np.arange(len(lengths))
    return EpisodeArrays({"frames": frames}, actions, actions >= 0, rewards, terminated, ~terminated, starts, levels)


@pytest.mark.parametrize(
    ("lengths", "solved", "level"),
    [([9, 3, 5], [True] * 3, 2), ([9, 3, 5, 4], [True, False, False, True], 0), ([2, 8, 4], [False] * 3, 2)],
)
def test_shown_is_the_solved_episode_of_median_length(lengths: list[int], solved: list[bool], level: int) -> None:
    episode = shown_episode(arrays_of(lengths, solved))
    assert episode.level_id == level
    assert episode.length == lengths[level]
    assert len(episode.observations["frames"]) == lengths[level] + 1
    assert episode.terminated == solved[level]
