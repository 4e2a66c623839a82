"""Windows stay inside their episode, and every transition is drawn equally often."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from lamflow.data.store import EpisodeArrays
from lamflow.data.tensors import EpisodeTensors
from lamflow.data.windows import (
    TransitionStream,
    context_rows,
    effectful,
    frames_ahead,
    frames_left,
    starts_of_rows,
    transition_rows,
    window_rows,
)


def arrays_of(lengths: list[int], *, final: bool = True) -> EpisodeArrays:
    """Episodes of ``lengths`` actions whose frames say (episode, step)."""
    rows = [length + final for length in lengths]
    starts = np.cumsum([0, *rows[:-1]])
    frames = np.concatenate([[[episode, t] for t in range(n)] for episode, n in enumerate(rows)])
    actions = np.concatenate([[*range(length), *([-1] * final)] for length in lengths])
    num_rows = sum(rows)
    return EpisodeArrays(
        observations=frames.astype(np.uint8)[:, None, None, :],
        proprioception=np.zeros((num_rows, 3), np.uint8),
        task=np.zeros((num_rows, 0), np.uint8),
        actions=actions.astype(np.int64),
        rewards=np.zeros(num_rows, np.float32),
        terminated=np.zeros(num_rows, np.bool_),
        truncated=np.zeros(num_rows, np.bool_),
        episode_starts=starts.astype(np.int64),
        level_seeds=np.arange(len(lengths)),
    )


def random_lengths(seed: int) -> list[int]:
    generator = np.random.default_rng(seed)
    return [int(n) for n in generator.integers(1, 1 + generator.integers(1, 9), generator.integers(1, 12))]


@pytest.mark.parametrize("final", [True, False])
@pytest.mark.parametrize("seed", range(25))
def test_windows_never_cross_an_episode(seed: int, final: bool) -> None:
    lengths = random_lengths(seed)
    arrays = arrays_of(lengths, final=final)
    frames, starts, rows = torch.from_numpy(arrays.observations), starts_of_rows(arrays), transition_rows(arrays)
    previous, current, following = frames[window_rows(rows, starts)].flatten(2).long().unbind(1)
    episode, t = current.T
    expected = [(e, s) for e, length in enumerate(lengths) for s in range(length - (not final))]
    assert current.tolist() == [list(pair) for pair in expected]
    assert torch.equal(following, torch.stack([episode, t + 1], 1))
    assert torch.equal(previous, torch.stack([episode, (t - 1).clamp(min=0)], 1))
    assert len(rows) == arrays.num_transitions


@pytest.mark.parametrize("num_frames", [1, 2, 5])
@pytest.mark.parametrize("seed", range(10))
def test_context_never_reaches_before_the_episode(seed: int, num_frames: int) -> None:
    arrays = arrays_of(random_lengths(seed))
    frames, starts = torch.from_numpy(arrays.observations), starts_of_rows(arrays)
    rows = torch.from_numpy(np.random.default_rng(seed).permutation(arrays.num_rows))
    context = frames[context_rows(rows, starts, num_frames)]
    assert context.shape == (len(rows), num_frames, 1, 1, 2)
    for row, window in zip(rows.tolist(), context.flatten(2).tolist(), strict=True):
        episode, t = arrays.observations[row].reshape(2).tolist()
        assert window == [[episode, max(0, t - back)] for back in reversed(range(num_frames))]


@pytest.mark.parametrize("horizon", [1, 2, 5, 10])
@pytest.mark.parametrize("seed", range(10))
def test_a_frame_ahead_is_in_the_episode_and_within_the_horizon(seed: int, horizon: int) -> None:
    arrays = arrays_of(random_lengths(seed))
    data, rows = EpisodeTensors(arrays), transition_rows(arrays)
    left = frames_left(rows, data.starts)
    for step in range(5):
        ahead = frames_ahead(left, horizon, seed=seed, step=step)
        windows = data.windows(rows, ahead)
        assert torch.equal(windows[:, :3], data.windows(rows))
        present, future = windows.flatten(2).long()[:, [1, 3]].unbind(1)
        assert torch.equal(future[:, 0], present[:, 0]), "the same episode"
        assert torch.equal(future[:, 1] - present[:, 1], ahead)
        assert ahead.min() >= 1 and ahead.max() <= horizon


def test_frames_left_end_with_the_episode() -> None:
    arrays = arrays_of([2, 1])
    assert frames_left(torch.arange(5), starts_of_rows(arrays)).tolist() == [2, 1, 0, 1, 0]


@pytest.mark.parametrize(("left", "horizon", "reach"), [(30, 10, 10), (3, 10, 3), (10, 4, 4), (1, 10, 1)])
def test_every_distance_that_is_allowed_is_equally_likely(left: int, horizon: int, reach: int) -> None:
    batches = [frames_ahead(torch.full((64,), left), horizon, seed=0, step=step) for step in range(200)]
    counts = torch.cat(batches).bincount(minlength=reach + 1)
    assert counts[0] == 0 and len(counts) == reach + 1
    assert reach == 1 or chisquare(counts[1:].numpy()).pvalue > 1e-3


def test_distances_hang_on_seed_and_step() -> None:
    drawn = {
        tuple(frames_ahead(torch.full((32,), 20), 10, seed=seed, step=step).tolist())
        for seed, step in [(0, 0), (0, 1), (1, 0), (1, 1), (0, 0)]
    }
    assert len(drawn) == 4


def test_rows_of_transitions_and_actions() -> None:
    arrays = arrays_of([2, 1])
    assert starts_of_rows(arrays).tolist() == [0, 0, 0, 3, 3]
    assert transition_rows(arrays).tolist() == EpisodeTensors(arrays).action_rows.tolist() == [0, 1, 3]
    without_final = arrays_of([2, 1], final=False)
    assert transition_rows(without_final).tolist() == [0]
    assert EpisodeTensors(without_final).action_rows.tolist() == [0, 1, 2]


@pytest.mark.parametrize("block", [2, 65_536])
def test_effectful_transitions_change_the_frame_within_the_episode(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamflow.data.windows._COMPARED_ROWS", block)
    arrays = arrays_of([3, 1, 2])
    assert effectful(arrays).tolist() == [True, True, True, False, True, False, True, True, False]
    arrays.observations[1] = arrays.observations[0]
    arrays.observations[5] = arrays.observations[4]
    assert effectful(arrays).tolist() == [False, True, True, False, False, False, True, True, False]


@pytest.mark.parametrize(("num_rows", "batch_size"), [(10, 3), (12, 4), (3, 8), (1, 1)])
def test_every_transition_is_drawn_equally_often_in_an_epoch(num_rows: int, batch_size: int) -> None:
    rows = torch.arange(num_rows) * 2 + 1
    stream = TransitionStream(rows, batch_size, seed=0)
    epochs = 3 * batch_size
    drawn = torch.cat([stream.batch(step) for step in range(epochs * num_rows // batch_size)])
    assert drawn.unique().tolist() == rows.tolist()
    for epoch in drawn.split(num_rows):
        assert epoch.sort().values.tolist() == rows.tolist()
    if num_rows > 3:
        assert drawn[:num_rows].tolist() != drawn[num_rows : 2 * num_rows].tolist()


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    rows = torch.arange(100)
    straight = TransitionStream(rows, 16, seed=1)
    batches = [straight.batch(step) for step in range(20)]
    resumed = TransitionStream(rows, 16, seed=1)
    for step in (19, 3, 7, 0):
        assert torch.equal(resumed.batch(step), batches[step])
    assert not torch.equal(TransitionStream(rows, 16, seed=2).batch(0), batches[0])


def test_a_stream_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="found 0 rows and batch size 4, expected at least one of each"):
        TransitionStream(torch.arange(0), 4, seed=0)
