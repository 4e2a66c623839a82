"""The film of demonstrator and agents, on the real simulator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lamflow.catalogue import environment_spec
from lamflow.config import BcMethodSettings, LatentMethodSettings
from lamflow.data.store import EpisodeArrays, EpisodeStore, EpisodeWriter
from lamflow.envs.levels import draw_levels
from lamflow.envs.registry import make_vector_environment
from lamflow.evaluation.recording import record_agent
from lamflow.policies.agents import RandomAgent
from lamflow.policies.decoders import code_action_table
from lamflow.policies.members import ALL_LABELS, Member, label_members, save_members
from lamflow.policies.network import PolicyNetwork
from lamflow.stages.plot_episode_film import plot_episode_film, shown_episode

ENV = "xland-doorkey-5x5"
SMALL: dict[str, Any] = {"network": {"width": 8, "layers": 1, "hidden_width": 8}}
NUM_CODES = 4


@pytest.fixture(scope="module")
def episodes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A test store of two episodes of random actions."""
    path = tmp_path_factory.mktemp("episodes") / "test.zarr"
    environment = make_vector_environment(ENV, 1)
    agent = RandomAgent(num_actions=6, seed=0)
    attributes = {"source": "test", "licence": "MIT", "num_rulesets": None}
    with EpisodeWriter(path, spec=environment_spec(ENV), split="test", attributes=attributes) as writer:
        for level in draw_levels(ENV, "test", 2, seed=0):
            writer.append(record_agent(agent, 0, environment, int(level)))
    return path


def write_agents(folder: Path) -> dict[str, Any]:
    """Untrained agents of a latent method and of BC; the arguments of the stage that name them."""
    spec = environment_spec(ENV)
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
        header = {"env": ENV, "method": name, "output_dim": outputs, "settings": method.policy.model_dump(mode="json")}
        save_members(folder / f"{name}.safetensors", held, networks, header)
    empty = torch.zeros(0, dtype=torch.long)
    table = code_action_table(empty, empty, num_codes=NUM_CODES, num_actions=spec.num_actions, smoothing=0.1)
    header = {"env": ENV, "method": "latent", "decoder": "dictionary", "target": "codes", "num_tokens": 1}
    header["num_codes"] = NUM_CODES
    save_members(folder / "decoders.safetensors", members, [{"table": table.clone()} for _ in members], header)
    agents = [
        {"method": name, "settings": part.model_dump(mode="json")} for name, part in (("latent", latent), ("bc", bc))
    ]
    return {
        "agents": [*agents, {"method": "random", "settings": {"kind": "random"}}],
        "labels": [16, 64],
        "label_draws": 2,
        "policies": [folder / "latent.safetensors", folder / "bc.safetensors"],
        "decoders": [folder / "decoders.safetensors"],
    }


def test_the_film_shows_the_demonstrator_and_every_agent_on_its_level(episodes: Path, tmp_path: Path) -> None:
    output = tmp_path / "episode_film.gif"
    plot_episode_film(
        env=ENV,
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
    given = write_agents(tmp_path) | {"labels": [16]}
    with pytest.raises(ValueError, match="other label counts or draws"):
        plot_episode_film(
            env=ENV,
            **given,
            shown_labels=16,
            action_selection="sample",
            seed=0,
            episodes=episodes,
            output=tmp_path / "episode_film.gif",
        )


def arrays_of(lengths: list[int], solved: list[bool]) -> EpisodeArrays:
    rows = sum(lengths) + len(lengths)
    starts = np.cumsum([0, *(length + 1 for length in lengths[:-1])])
    actions, rewards, terminated = np.zeros(rows, np.int64), np.zeros(rows, np.float32), np.zeros(rows, bool)
    for start, length, success in zip(starts, lengths, solved, strict=True):
        actions[start + length] = -1
        rewards[start + length - 1] = terminated[start + length - 1] = success
    frames, nothing = np.zeros((rows, 5, 5, 2), np.uint8), np.zeros((rows, 0), np.uint8)
    levels = np.arange(len(lengths))
    return EpisodeArrays(frames, nothing, nothing, actions, rewards, terminated, ~terminated, starts, levels)


@pytest.mark.parametrize(
    ("lengths", "solved", "level"),
    [([9, 3, 5], [True] * 3, 2), ([9, 3, 5, 4], [True, False, False, True], 0), ([2, 8, 4], [False] * 3, 2)],
)
def test_shown_is_the_solved_episode_of_median_length(lengths: list[int], solved: list[bool], level: int) -> None:
    episode = shown_episode(arrays_of(lengths, solved))
    assert episode.level_id == level
    assert episode.length == lengths[level]
    assert len(episode.frames) == lengths[level] + 1
    assert episode.terminated == solved[level]
