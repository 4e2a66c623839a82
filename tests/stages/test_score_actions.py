"""Answers to recorded actions: of every kind of method, of rows whose action is known, and of test episodes that nobody learns from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from test_policy_stages import DECODED, ENV, MEMBERS, METHODS, PLAYED, Stages

from lamflow.data.latents import LatentStore
from lamflow.data.store import EpisodeStore, EpisodeWriter
from lamflow.data.windows import transition_rows
from lamflow.envs.interface import Episode
from lamflow.envs.presets import preset
from lamflow.evaluation.columns import ACTIONS_COLUMNS
from lamflow.methods.settings import Stage, method_settings
from lamflow.policies.members import Member, read_members
from lamflow.stages.relabel_episodes import relabel_episodes
from lamflow.stages.score_actions import score_actions

Change = Callable[[Episode], Episode]
SPEC = preset(ENV)


@pytest.fixture(scope="module")
def trained(world: Any, tmp_path_factory: pytest.TempPathFactory) -> Stages:
    """A latent method with a table, a recurrent one whose decoders see the observation, and the others, trained."""
    found = Stages(world, tmp_path_factory.mktemp("trained"))
    for method in ("dictionary", "flow", "vpt", "bc"):
        found.policy(method)
        if method in ("dictionary", "flow"):
            found.decoders(method)
    return found


def scored(trained: Stages, method: str, episodes: Path, output: Path) -> pd.DataFrame:
    folder, lam = trained.folder / method, METHODS[method].get("lam")
    score_actions(
        **trained.common(method),
        episodes=episodes,
        policy=folder / "policy.safetensors" if method in PLAYED else None,
        decoders=folder / "decoders.safetensors" if method in DECODED else None,
        lam=trained.world.model(lam) if lam else None,
        output=output,
    )
    return pd.read_csv(output, dtype={"labels": str})


def changed_store(episodes: Path, path: Path, change: Change) -> Path:
    """A copy of a store with its episodes changed."""
    arrays = EpisodeStore.open(episodes).load()
    stops = np.append(arrays.episode_starts[1:], arrays.num_rows)
    attributes = {"source": "a copy", "licence": "MIT"}
    with EpisodeWriter(path, spec=SPEC, split="test", attributes=attributes) as writer:
        for number, (start, stop) in enumerate(zip(arrays.episode_starts, stops, strict=True)):
            part = slice(start, stop)
            episode = Episode(
                observations={name: values[part] for name, values in arrays.observations.items()},
                actions=arrays.actions[start : stop - 1],
                rewards=arrays.rewards[start : stop - 1],
                terminated=bool(arrays.terminated[part].any()),
                truncated=bool(arrays.truncated[part].any()),
                level_id=number,
            )
            writer.append(change(episode))
    return path


def known(count: int) -> NDArray[np.bool_]:
    """Each third row."""
    return np.arange(count) % 3 == 1


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dictionary", "flow", "vpt", "bc", "random"])
def test_every_kind_of_method_is_scored(method: str, trained: Stages, world: Any, tmp_path: Path) -> None:
    found = scored(trained, method, world.episodes("test"), tmp_path / "actions.csv")
    arrays = EpisodeStore.open(world.episodes("test")).load()
    lengths = np.diff(np.append(arrays.episode_starts, arrays.num_rows)) - 1
    members = [Member("0", 0)] if method == "random" else MEMBERS
    answering = ["agent", "decoder"] if method in DECODED else ["agent"]
    assert tuple(found.columns) == ACTIONS_COLUMNS and len(found) == len(answering) * len(members) * len(lengths)
    agents = found[["what", "labels", "label_draw"]].drop_duplicates().itertuples(index=False)
    assert list(agents) == [(what, each.labels, each.label_draw) for what in answering for each in members]
    for _, agent in found.groupby(["what", "labels", "label_draw"]):
        assert agent["rows"].tolist() == agent["scale"].tolist() == lengths.tolist()
    assert (found["error"] <= found["scale"]).all() and found["error"].nunique() > 1


@pytest.mark.slow
def test_a_table_is_scored_by_the_codes_that_the_lam_gives(trained: Stages, world: Any, tmp_path: Path) -> None:
    episodes, latents = world.episodes("test"), tmp_path / "latents.zarr"
    relabel_episodes(
        environment=SPEC.facts(), lam="single", seed=0, model=world.model("single"), episodes=episodes, output=latents
    )
    arrays, codes = EpisodeStore.open(episodes).load(), LatentStore.open(latents).load().codes
    assert codes is not None
    rows = transition_rows(arrays).numpy()
    found = scored(trained, "dictionary", episodes, tmp_path / "actions.csv")
    decoded = found[found["what"] == "decoder"]
    path = trained.folder / "dictionary" / "decoders.safetensors"
    _, weights, _ = read_members(path, env=ENV, method="dictionary", seed=0)
    for member, tensors in zip(MEMBERS, weights, strict=True):
        of_member = decoded[(decoded["labels"] == member.labels) & (decoded["label_draw"] == member.label_draw)]
        answers = tensors["table"].argmax(1).numpy()[codes[rows, 0]]
        assert of_member["error"].sum() == (answers != arrays.actions[rows]).sum()


@pytest.mark.slow
def test_rows_whose_action_nobody_knows_do_not_count(trained: Stages, world: Any, tmp_path: Path) -> None:
    """Agents see their observations all the same: a recurrent one answers as it does where all are known."""
    episodes = world.episodes("test")

    def forget(episode: Episode) -> Episode:
        return replace(episode, labelled=known(episode.length))

    def mistake(episode: Episode) -> Episode:
        """Where actions are forgotten above, none that anybody answers."""
        return replace(episode, actions=np.where(known(episode.length), episode.actions, SPEC.num_actions - 1))

    some = scored(trained, "bc", changed_store(episodes, tmp_path / "some.zarr", forget), tmp_path / "some.csv")
    every = scored(trained, "bc", changed_store(episodes, tmp_path / "all.zarr", mistake), tmp_path / "all.csv")
    lengths = every["rows"][: every["episode"].nunique()].to_numpy()
    assert some["rows"][: len(lengths)].tolist() == [known(length).sum() for length in lengths]
    wrong = np.tile(lengths, len(MEMBERS)) - some["rows"]
    answered_last = wrong - (every["error"] - some["error"])
    assert (answered_last >= 0).all() and answered_last.sum() < wrong.sum()


@pytest.mark.slow
def test_without_a_known_action_the_table_is_empty_and_a_warning_says_so(
    trained: Stages, world: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def forget(episode: Episode) -> Episode:
        return replace(episode, labelled=np.zeros(episode.length, np.bool_))

    store = changed_store(world.episodes("test"), tmp_path / "none.zarr", forget)
    assert scored(trained, "bc", store, tmp_path / "actions.csv").empty
    assert "none.zarr: found no transition whose action is known" in caplog.text


@pytest.mark.slow
def test_poisoned_test_actions_change_the_scores(trained: Stages, world: Any, tmp_path: Path) -> None:
    def poison(episode: Episode) -> Episode:
        return replace(episode, actions=(episode.actions + 1) % SPEC.num_actions)

    poisoned = changed_store(world.episodes("test"), tmp_path / "poisoned.zarr", poison)
    true, false = (
        scored(trained, "dictionary", store, tmp_path / f"{number}.csv")
        for number, store in enumerate((world.episodes("test"), poisoned))
    )
    assert true["scale"].tolist() == false["scale"].tolist()
    for what in ("agent", "decoder"):
        assert true[true["what"] == what]["error"].sum() != false[false["what"] == what]["error"].sum()


@pytest.mark.parametrize("method", METHODS)
def test_nobody_learns_from_the_test_split(method: str) -> None:
    settings = method_settings(METHODS[method])
    readers = {stage for stage in get_args(Stage) if "episodes" in (settings.needed(stage) or ())}
    assert readers == {"agent", "scores"}


def test_what_is_scored_is_the_most_likely_action() -> None:
    for method in ("mixture", "bc"):
        assert "action_selection" in method_settings(METHODS[method]).unread("scores")
