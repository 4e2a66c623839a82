"""Episodes over pixels: every level once, recorded whole; stored and windowed, no window holds a frame of another episode."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lamflow.data.store import EpisodeArrays, EpisodeStore, EpisodeWriter
from lamflow.data.tensors import EpisodeTensors
from lamflow.data.validate import store_problems
from lamflow.data.windows import TRANSITION
from lamflow.envs.interface import Episode
from lamflow.envs.levels import draw_levels
from lamflow.envs.presets import preset
from lamflow.envs.procgen import make_simulator
from lamflow.envs.procgen_presets import PROCGEN_GAMES
from lamflow.envs.spec import EnvironmentSpec
from lamflow.rl import pixel_rollouts
from lamflow.rl.pixel_rollouts import play_episodes

NUM_TRANSITIONS = 1000


class RandomActor:
    """Uniformly random actions."""

    def __init__(self, env: str, seed: int = 0) -> None:
        self.spec: EnvironmentSpec = preset(env)
        self.calls: list[int] = []
        self._generator = np.random.default_rng(seed)

    def act(self, frames: NDArray[np.uint8]) -> NDArray[np.int64]:
        self.calls.append(len(frames))
        return self._generator.integers(self.spec.num_actions, size=len(frames))


def plain_run(spec: EnvironmentSpec, episode: Episode) -> Iterator[tuple[NDArray[np.uint8], float, bool]]:
    """What Procgen itself says after each action: the frame it was taken in, its reward, and ``first``: an episode began."""
    simulator = make_simulator(spec, 1, start_level=episode.level_id, num_levels=1, num_threads=0)
    for action in episode.actions:
        frame = simulator.observe()[1]["rgb"][0].copy()
        simulator.act(np.array([action]))
        rewards, _, first = simulator.observe()
        yield frame, float(rewards[0]), bool(first[0])
    simulator.close()


def collect(game: str, path: Path) -> tuple[EnvironmentSpec, list[Episode], EpisodeArrays]:
    """Whole episodes of at least 1,000 transitions in a store; those and its arrays."""
    actor = RandomActor(f"procgen-{game}")
    levels = draw_levels(actor.spec, "train", 200, seed=0)
    episodes: list[Episode] = []
    attributes = {"source": "test", "licence": "MIT"}
    with EpisodeWriter(path, spec=actor.spec, split="train", attributes=attributes) as writer:
        for episode in play_episodes(actor, levels, batch=4):
            episodes.append(episode)
            writer.append(episode)
            if writer.num_rows - writer.num_episodes >= NUM_TRANSITIONS:
                break
    return actor.spec, episodes, EpisodeStore.open(path, env=actor.spec.name).load()


@pytest.mark.slow
@pytest.mark.parametrize("game", PROCGEN_GAMES)
def test_windows_of_a_collected_store_never_hold_a_frame_of_another_episode(game: str, tmp_path: Path) -> None:
    """Against a plain ``ProcgenGym3Env`` that replays each episode: its frames and its ``first`` flags are the truth."""
    spec, episodes, arrays = collect(game, tmp_path / "train.zarr")
    assert store_problems(tmp_path / "train.zarr") == []
    firsts, frames = [], []
    for episode in episodes:
        frame_parts, rewards, first = zip(*plain_run(spec, episode), strict=True)
        np.testing.assert_array_equal(rewards, episode.rewards)
        frames.append(np.stack(frame_parts))
        firsts += list(first)
    np.testing.assert_array_equal(np.concatenate(frames), arrays.frames)
    ends = np.flatnonzero(firsts)  # rows whose action Procgen answered with another episode's frame
    np.testing.assert_array_equal(np.append(arrays.episode_starts[1:], arrays.num_rows) - 1, ends)
    np.testing.assert_array_equal(np.flatnonzero(arrays.terminated | arrays.truncated), ends)

    tensors = EpisodeTensors(arrays, torch.device("cpu"))
    rows = tensors.rows.numpy()
    np.testing.assert_array_equal(rows, np.setdiff1d(np.arange(arrays.num_rows), ends))
    assert len(rows) >= NUM_TRANSITIONS
    windows = tensors.part(TRANSITION, tensors.rows).gather(tensors.rows).frames.numpy()
    previous = np.where(np.isin(rows, arrays.episode_starts), rows, rows - 1)
    for place, wanted in enumerate((previous, rows, rows + 1)):
        np.testing.assert_array_equal(windows[:, place], np.concatenate(frames)[wanted])
    episode_of = np.cumsum(np.concatenate([[0], firsts[:-1]]))
    np.testing.assert_array_equal(episode_of[previous], episode_of[rows + 1])


def played(actor: RandomActor, levels: NDArray[np.int64], **options: float) -> list[Episode]:
    return list(play_episodes(actor, levels, **options))  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 3, 8, 64])
def test_every_level_is_played_once(batch: int) -> None:
    levels = draw_levels(preset("procgen-starpilot"), "train", 20, seed=1)
    episodes = played(RandomActor("procgen-starpilot"), levels, batch=batch)
    assert sorted(episode.level_id for episode in episodes) == sorted(levels.tolist())
    assert all(len(episode.observations["frames"]) == episode.length for episode in episodes)


def test_the_same_seed_gives_the_same_episodes_whatever_the_threads() -> None:
    levels = draw_levels(preset("procgen-starpilot"), "train", 12, seed=2)
    runs = [
        played(RandomActor("procgen-starpilot", seed), levels, batch=6, num_threads=threads, sticky=0.25, seed=5)
        for seed, threads in ((0, 0), (0, 2), (1, 0))
    ]
    for one, other in zip(*runs[:2], strict=True):
        assert (one.level_id, one.actions.tolist()) == (other.level_id, other.actions.tolist())
        np.testing.assert_array_equal(one.observations["frames"], other.observations["frames"])
    assert [episode.actions.tolist() for episode in runs[0]] != [episode.actions.tolist() for episode in runs[2]]


@pytest.mark.parametrize("sticky", [0.0, 0.8])
def test_sticky_actions_repeat_the_last_one_within_an_episode(sticky: float) -> None:
    class Counter(RandomActor):
        """No action twice in a row in a slot, and 0 at first sight of a frame."""

        def act(self, frames: NDArray[np.uint8]) -> NDArray[np.int64]:
            self.calls.append(len(frames))
            return np.full(len(frames), len(self.calls) % 15)

    levels = draw_levels(preset("procgen-starpilot"), "train", 10, seed=3)
    actor = Counter("procgen-starpilot")
    episodes = played(actor, levels, batch=1, sticky=sticky)
    repeats = [a == b for episode in episodes for a, b in pairwise(episode.actions.tolist())]
    assert abs(np.mean(repeats) - sticky) < 0.1
    begun = np.cumsum([0, *(episode.length for episode in episodes)])[:-1] + 1
    assert [int(episode.actions[0]) for episode in episodes] == (begun % 15).tolist(), "an episode begins unstuck"


def test_slots_that_have_stopped_are_left_out() -> None:
    actor = RandomActor("procgen-starpilot")
    played(actor, draw_levels(preset("procgen-starpilot"), "train", 16, seed=4), batch=16)
    assert actor.calls[:2] == [8, 8]
    assert actor.calls[-1] == 1


def test_fewer_episodes_run_at_a_time_where_they_could_not_be_held(monkeypatch: pytest.MonkeyPatch) -> None:
    actor = RandomActor("procgen-starpilot")
    monkeypatch.setattr(pixel_rollouts, "ROLLOUT_BYTES", 2 * actor.spec.max_steps * 64 * 64 * 3)
    assert len(played(actor, draw_levels(preset("procgen-starpilot"), "train", 5, seed=4))) == 5
    assert max(actor.calls) == 1, "two tables of one slot"
