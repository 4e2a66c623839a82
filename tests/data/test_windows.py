"""Windows stay inside their episode, and every transition is drawn equally often."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from lamflow.data.store import EpisodeArrays
from lamflow.data.tensors import EpisodeTensors
from lamflow.data.windows import (
    FRAMES,
    TRANSITION,
    EpisodeBounds,
    TransitionStream,
    Window,
    WindowSpec,
    effectful,
    frames_ahead,
    transition_rows,
)

CPU = torch.device("cpu")


def arrays_of(lengths: list[int], *, final: bool = True) -> EpisodeArrays:
    """Episodes of ``lengths`` actions whose frames say (episode, step)."""
    rows = [length + final for length in lengths]
    starts = np.cumsum([0, *rows[:-1]])
    frames = np.concatenate([[[episode, t] for t in range(n)] for episode, n in enumerate(rows)])
    actions = np.concatenate([[*range(length), *([-1] * final)] for length in lengths])
    num_rows = sum(rows)
    return EpisodeArrays(
        observations={
            "frames": frames.astype(np.uint8)[:, None, None, :],
            "proprioception": np.zeros((num_rows, 3), np.uint8),
        },
        actions=actions.astype(np.int64),
        acted=actions >= 0,
        rewards=np.zeros(num_rows, np.float32),
        terminated=np.zeros(num_rows, np.bool_),
        truncated=np.zeros(num_rows, np.bool_),
        episode_starts=starts.astype(np.int64),
        level_seeds=np.arange(len(lengths)),
    )


def random_lengths(seed: int) -> list[int]:
    generator = np.random.default_rng(seed)
    return [int(n) for n in generator.integers(1, 1 + generator.integers(1, 9), generator.integers(1, 12))]


def gathered(arrays: EpisodeArrays, spec: WindowSpec, rows: Tensor, ahead: Tensor | None = None) -> Window:
    return EpisodeTensors(arrays, CPU).part(spec, rows).gather(rows, ahead)


@pytest.mark.parametrize("final", [True, False])
@pytest.mark.parametrize("seed", range(25))
def test_windows_never_cross_an_episode(seed: int, final: bool) -> None:
    lengths = random_lengths(seed)
    arrays = arrays_of(lengths, final=final)
    rows = transition_rows(arrays)
    window = gathered(arrays, TRANSITION, rows)
    previous, current, following = window.frames.flatten(2).long().unbind(1)
    episode, t = current.T
    expected = [(e, s) for e, length in enumerate(lengths) for s in range(length - (not final))]
    assert current.tolist() == [list(pair) for pair in expected]
    assert torch.equal(following, torch.stack([episode, t + 1], 1))
    assert torch.equal(previous, torch.stack([episode, (t - 1).clamp(min=0)], 1))
    assert torch.equal(window.inside, torch.stack([t > 0, t >= 0, t >= 0], 1))
    assert len(rows) == arrays.num_transitions


@pytest.mark.parametrize("num_frames", [1, 2, 5])
@pytest.mark.parametrize("seed", range(10))
def test_context_never_reaches_before_the_episode(seed: int, num_frames: int) -> None:
    arrays = arrays_of(random_lengths(seed))
    rows = torch.from_numpy(np.random.default_rng(seed).permutation(arrays.num_rows))
    window = gathered(arrays, WindowSpec(before=num_frames - 1), rows)
    assert window.frames.shape == (len(rows), num_frames, 1, 1, 2)
    for row, frames, inside in zip(
        rows.tolist(), window.frames.flatten(2).tolist(), window.inside.tolist(), strict=True
    ):
        episode, t = arrays.frames[row].reshape(2).tolist()
        assert frames == [[episode, max(0, t - back)] for back in reversed(range(num_frames))]
        assert inside == [t - back >= 0 for back in reversed(range(num_frames))]


def test_outside_of_its_episode_a_window_repeats_the_first_or_the_last_row_and_says_so() -> None:
    """Two episodes of three and of two rows."""
    arrays = arrays_of([2, 1])
    window = gathered(arrays, WindowSpec(before=2, after=3, columns=(FRAMES, "actions")), torch.tensor([1, 3, 4]))
    assert window.frames[..., 0].flatten(2)[..., 0].tolist() == [[0] * 6, [1] * 6, [1] * 6]
    steps = [[0, 0, 1, 2, 2, 2], [0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 1, 1]]
    assert window.frames[..., 1].flatten(2)[..., 0].tolist() == steps
    inside = [[0, 1, 1, 1, 0, 0], [0, 0, 1, 1, 0, 0], [0, 1, 1, 0, 0, 0]]
    assert window.inside.int().tolist() == inside
    assert window.columns["actions"].tolist() == [[0, 0, 1, -1, -1, -1], [0, 0, 0, -1, -1, -1], [0, 0, -1, -1, -1, -1]]
    assert window.at("actions").tolist() == [1, 0, -1]


def test_a_segment_ends_with_its_episode() -> None:
    window = gathered(arrays_of([2, 3]), WindowSpec(after=2), torch.tensor([0, 1, 5]))
    assert window.frames[..., 0, 0, 1].tolist() == [[0, 1, 2], [1, 2, 2], [2, 3, 3]]
    assert window.inside.tolist() == [[True] * 3, [True, True, False], [True, True, False]]


def old_window_rows(rows: Tensor, starts: Tensor) -> Tensor:
    """The function that gathered transitions before there was one description of all windows."""
    return torch.stack([torch.maximum(rows - 1, starts[rows]), rows, rows + 1], dim=1)


def old_context_rows(rows: Tensor, starts: Tensor, num_frames: int) -> Tensor:
    """The one of contexts."""
    back = torch.arange(num_frames - 1, -1, -1)
    return torch.maximum(rows[:, None] - back, starts[rows][:, None])


def old_begun(rows: Tensor, starts: Tensor, num_frames: int) -> Tensor:
    """The one that said which frames of a context lie in the episode."""
    back = torch.arange(num_frames - 1, -1, -1)
    return rows[:, None] - back >= starts[rows][:, None]


def old_frames_left(rows: Tensor, starts: Tensor) -> Tensor:
    """The one that counted the frames behind a row."""
    return torch.searchsorted(starts, starts[rows], right=True) - 1 - rows


@pytest.mark.parametrize("final", [True, False])
@pytest.mark.parametrize("seed", range(20))
def test_windows_are_those_of_the_functions_that_they_took_the_place_of(seed: int, final: bool) -> None:
    arrays = arrays_of(random_lengths(seed), final=final)
    bounds, generator = EpisodeBounds.of(arrays), np.random.default_rng(seed)
    every, transitions = (
        torch.from_numpy(generator.permutation(rows)) for rows in (arrays.num_rows, transition_rows(arrays).numpy())
    )
    assert torch.equal(TRANSITION.positions(transitions, bounds)[0], old_window_rows(transitions, bounds.starts))
    assert torch.equal(bounds.left(every), old_frames_left(every, bounds.starts))
    for num_frames in range(1, 6):
        found, inside = WindowSpec(before=num_frames - 1).positions(every, bounds)
        assert torch.equal(found, old_context_rows(every, bounds.starts, num_frames))
        assert torch.equal(inside, old_begun(every, bounds.starts, num_frames))
    for horizon in (2, 5):
        ahead = frames_ahead(bounds.left(transitions), horizon, seed=seed, step=1)
        spec = WindowSpec(before=1, after=1, ahead=horizon)
        found, inside = spec.positions(transitions, bounds, ahead)
        expected = torch.cat([old_window_rows(transitions, bounds.starts), (transitions + ahead)[:, None]], dim=1)
        assert torch.equal(found, expected) and inside[:, 1:].all()


@pytest.mark.parametrize("horizon", [2, 5, 10])
@pytest.mark.parametrize("seed", range(10))
def test_a_frame_ahead_is_in_the_episode_and_within_the_horizon(seed: int, horizon: int) -> None:
    arrays = arrays_of(random_lengths(seed))
    rows, bounds = transition_rows(arrays), EpisodeBounds.of(arrays)
    for step in range(5):
        ahead = frames_ahead(bounds.left(rows), horizon, seed=seed, step=step)
        frames = gathered(arrays, WindowSpec(before=1, after=1, ahead=horizon), rows, ahead).frames
        assert torch.equal(frames[:, :3], gathered(arrays, TRANSITION, rows).frames)
        pair = gathered(arrays, WindowSpec(ahead=horizon), rows, ahead).frames
        assert torch.equal(pair, frames[:, [1, 3]])
        present, future = pair.flatten(2).long().unbind(1)
        assert torch.equal(future[:, 0], present[:, 0]), "the same episode"
        assert torch.equal(future[:, 1] - present[:, 1], ahead)
        assert ahead.min() >= 1 and ahead.max() <= horizon


def test_a_row_without_a_next_frame_looks_ahead_at_itself() -> None:
    arrays = arrays_of([1, 1])
    rows, bounds = torch.tensor([1, 3]), EpisodeBounds.of(arrays)
    ahead = frames_ahead(bounds.left(rows), 4, seed=0, step=0)
    window = gathered(arrays, WindowSpec(ahead=4), rows, ahead)
    assert torch.equal(window.frames[:, 1], window.frames[:, 0])
    assert window.inside.tolist() == [[True, False]] * 2


def test_frames_left_end_with_the_episode() -> None:
    assert EpisodeBounds.of(arrays_of([2, 1])).left(torch.arange(5)).tolist() == [2, 1, 0, 1, 0]


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
    bounds = EpisodeBounds.of(arrays)
    assert bounds.starts.tolist() == [0, 0, 0, 3, 3] and bounds.lasts.tolist() == [2, 2, 2, 4, 4]
    assert transition_rows(arrays).tolist() == EpisodeTensors(arrays).action_rows.tolist() == [0, 1, 3]
    without_final = arrays_of([2, 1], final=False)
    assert transition_rows(without_final).tolist() == [0]
    assert EpisodeTensors(without_final).action_rows.tolist() == [0, 1, 2]


@pytest.mark.parametrize("block", [2, 65_536])
def test_effectful_transitions_change_the_frame_within_the_episode(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamflow.data.windows._COMPARED_ROWS", block)
    arrays = arrays_of([3, 1, 2])
    assert effectful(arrays).tolist() == [True, True, True, False, True, False, True, True, False]
    arrays.frames[1] = arrays.frames[0]
    arrays.frames[5] = arrays.frames[4]
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
