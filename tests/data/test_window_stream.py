"""A split larger than its window: what is drawn from it, gathered for it and left of it, on stores with chunks of four rows."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import chisquare
from torch import Tensor

from lamflow.data import group_writer, tensors
from lamflow.data.held_windows import WindowStream
from lamflow.data.latents import LatentStore, LatentWriter
from lamflow.data.row_ring import RowRing
from lamflow.data.segments import AtRandom, Segments
from lamflow.data.store import EpisodeStore, array_of
from lamflow.data.tensors import EpisodeTensors
from lamflow.data.windows import FRAMES, TRANSITION, TransitionStream, Window, WindowSpec, frames_ahead
from lamflow.networks.vectors import change_of

ROW_BYTES = 50
CHUNK_ROWS = 4
LENGTHS = (3, 1, 17, 2, 5, 30, 1, 9, 12, 4, 21, 8)
CPU = torch.device("cpu")
OpenStore = Callable[..., EpisodeStore]


@pytest.fixture
def open_store(
    tmp_path: Path, write_episodes: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., EpisodeStore]:
    """Opens a store of random episodes of ``lengths``: 4 rows per chunk, 16 per shard file."""
    monkeypatch.setattr(group_writer, "CHUNK_BYTES", CHUNK_ROWS * ROW_BYTES)
    monkeypatch.setattr(group_writer, "CHUNKS_A_SHARD", 4)

    def opened(lengths: Sequence[int] = LENGTHS, **options: Any) -> EpisodeStore:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.zarr"
        write_episodes(path, lengths, **options)
        return EpisodeStore.open(path)

    return opened


def windowed(store: EpisodeStore, rows: int = 40, **options: Any) -> EpisodeTensors:
    """The split with a window of so many rows of memory."""
    return EpisodeTensors.open(store, window_gib=rows * ROW_BYTES / 2**30, device=CPU, **options)


def test_moments_of_a_change_are_those_of_all_transitions_however_they_are_read(open_store: OpenStore) -> None:
    """Of the main part, per channel; no change leads from one episode into the next."""
    store = open_store()
    arrays = store.load()
    changes = np.concatenate(
        [np.diff(part.astype(float), axis=0) for part in np.split(arrays.frames, arrays.episode_starts[1:])]
    ).reshape(-1, arrays.frames.shape[-1])
    for data in (windowed(store), windowed(store, rows=10_000), EpisodeTensors(arrays, CPU)):
        assert change_of("frames") not in data.moments(), "frames are no vector"
        mean, deviation = data.moments(changes=True)[change_of("frames")]
        np.testing.assert_allclose(mean, changes.mean(0), rtol=1e-6)
        np.testing.assert_allclose(deviation, changes.std(0), rtol=1e-6)


def drawn(stream: WindowStream, steps: Sequence[int] | range) -> Tensor:
    return torch.cat([stream.rows(step) for step in steps])


def same(one: Window, other: Window) -> bool:
    equal = [torch.equal(values, other.columns[name]) for name, values in one.columns.items()]
    return all(equal) and torch.equal(one.inside, other.inside) and one.present == other.present


def context(num_frames: int, *columns: str) -> WindowSpec:
    return WindowSpec(before=num_frames - 1, columns=(FRAMES, "actions", *columns))


def readers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("row-reader")]


@pytest.mark.parametrize("batch_size", [1, 4, 5])
@pytest.mark.parametrize("seed", range(4))
def test_every_window_is_drawn_once_an_epoch(seed: int, batch_size: int, open_store: OpenStore) -> None:
    data = windowed(open_store())
    with data.stream(TRANSITION, data.rows, batch_size, seed) as stream:
        stream.rows(0)
        assert readers()
        epochs = drawn(stream, range(len(data.rows))).split(len(data.rows))
    assert len(epochs) == batch_size
    for epoch in epochs:
        assert torch.equal(epoch.sort().values, data.rows)
    if batch_size > 1:
        assert not torch.equal(epochs[0], epochs[1])


@pytest.mark.slow
def test_at_each_position_of_an_epoch_every_window_is_drawn_equally_often() -> None:
    """By chi-square, over seeds and the positions of an epoch's first third; and these cover the segments evenly."""
    segments, third = Segments(num_rows=241, length=CHUNK_ROWS, before=1), 80
    windows, covered = np.zeros(240), np.zeros(60)
    for seed in range(6000):
        order = AtRandom(np.arange(240), segments, 3, seed)
        position = seed % third
        block = order.block_at(position)
        windows[order.rows_of(block)[position - order.start_of(block)]] += 1
        covered[order.segments_of(seed % (third // (3 * CHUNK_ROWS)))] += 1
    assert chisquare(windows).pvalue > 1e-3
    assert chisquare(covered).pvalue > 1e-3


def test_the_order_within_a_block_hangs_on_seed_and_epoch() -> None:
    rows, segments = np.arange(60), Segments(num_rows=61, length=61, before=1)
    orders = [AtRandom(rows, segments, 1, seed).rows_of(epoch).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4


WINDOWS = {"two halves of one segment": 12, "two halves of three": 40, "nearly all": 100}


SPECS = {
    "transitions": TRANSITION.with_columns("actions", array_of("proprioception")),
    "contexts of one": context(1),
    "contexts of four": context(4, array_of("proprioception")),
    "segments of five": WindowSpec(after=4),
    "both sides": WindowSpec(before=2, after=3),
}


@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
@pytest.mark.parametrize("final", [True, False])
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_what_is_gathered_is_what_whole_arrays_hold(
    spec: WindowSpec, final: bool, window: int, open_store: OpenStore
) -> None:
    """Windows of all rows, at the edges of segments too; episodes are never left."""
    store, seen = open_store(final=final), set()
    data, whole = windowed(store, window), EpisodeTensors(store.load(), CPU)
    held = whole.part(spec, whole.rows)
    with data.stream(spec, data.rows, 2, seed=0) as stream:
        stream.rows(0)
        assert readers()
        for step in range(len(data.rows)):
            rows = stream.rows(step)
            assert same(stream.window(step), held.gather(rows))
            seen.update(rows.tolist())
    assert seen == set(data.rows.tolist())


@pytest.mark.parametrize("window", [*WINDOWS.values(), 1000], ids=[*WINDOWS, "resident"])
@pytest.mark.parametrize("horizon", [2, 10])
def test_windows_that_reach_ahead_are_what_whole_arrays_hold(horizon: int, window: int, open_store: OpenStore) -> None:
    """At the edges of segments, of chunks shorter than the horizon too."""
    store, spec = open_store(), WindowSpec(before=1, after=1, ahead=horizon)
    data, whole = windowed(store, window), EpisodeTensors(store.load(), CPU)
    held = whole.part(spec, whole.rows)
    with data.stream(spec, data.rows, 2, seed=5) as stream:
        stream.rows(0)
        assert bool(readers()) == (window != 1000)
        for step in range(len(data.rows)):
            rows = stream.rows(step)
            ahead = frames_ahead(whole.bounds.left(rows), horizon, seed=5, step=step)
            assert same(stream.window(step), held.gather(rows, ahead))


def test_windows_of_few_rows_that_reach_ahead_are_kept(open_store: OpenStore) -> None:
    store, spec = open_store(), WindowSpec(before=1, after=1, ahead=10)
    data, whole = windowed(store, 100), EpisodeTensors(store.load(), CPU)
    rows = data.rows[5:11]
    ahead = whole.bounds.left(rows).clamp(max=10)
    with data.stream(spec, rows, 2, seed=0):
        assert not readers(), "nothing is streamed"
    assert same(data.part(spec, rows).gather(rows, ahead), whole.part(spec, rows).gather(rows, ahead))


def test_contexts_of_rows_without_a_next_frame_are_gathered_too(open_store: OpenStore) -> None:
    store = open_store(final=False)
    data, whole = windowed(store), EpisodeTensors(store.load(), CPU)
    rows = data.action_rows
    assert len(rows) == store.num_rows
    held = whole.part(context(2), rows)
    with data.stream(context(2), rows, 5, seed=1) as stream:
        for step in range(len(rows) // 5):
            assert same(stream.window(step), held.gather(stream.rows(step)))


@pytest.mark.parametrize("lengths", [[1], [14], [2] * 9, [3, 3, 3, 3], [3, 3, 3, 3, 1]], ids=str)
def test_stores_of_few_segments_are_streamed_too(lengths: list[int], open_store: OpenStore) -> None:
    """Of one; with a short last one; with one row in the last one, which has no window."""
    store = open_store(lengths)
    data, whole = windowed(store, 1), EpisodeTensors(store.load(), CPU)
    held = whole.part(TRANSITION, whole.rows)
    with data.stream(TRANSITION, data.rows, 1, seed=0) as stream:
        stream.rows(0)
        assert readers()
        for step in range(2 * len(data.rows)):
            assert same(stream.window(step), held.gather(stream.rows(step)))


def test_a_split_that_fits_is_resident_and_drawn_as_arrays_in_memory_are(open_store: OpenStore) -> None:
    store = open_store()
    whole, data = EpisodeTensors(store.load(), CPU), windowed(store, store.num_rows)
    expected, held = TransitionStream(whole.rows, 16, seed=2), whole.part(TRANSITION, whole.rows)
    with data.stream(TRANSITION, data.rows, 16, seed=2) as stream:
        assert not readers()
        for step in range(20):
            assert torch.equal(stream.rows(step), expected.batch(step))
            assert same(stream.window(step), held.gather(stream.rows(step)))
    (section,) = data.sections(TRANSITION)
    assert torch.equal(section.rows, data.rows) and (section.start, section.stop) == (0, store.num_rows)


def test_few_rows_of_a_large_split_are_resident(open_store: OpenStore) -> None:
    store, spec = open_store(), context(3)
    whole, data = EpisodeTensors(store.load(), CPU), windowed(store)
    rows = data.rows[torch.tensor([40, 7, 3, 90, 4])]
    held = whole.part(spec, rows)
    (window,) = data.part(spec, rows).windows()
    assert same(window, held.gather(rows))
    assert torch.equal(data.part(spec, rows).at("actions"), whole.actions[rows])
    expected = TransitionStream(rows, 3, seed=0)
    with data.stream(spec, rows, 3, seed=0) as stream:
        assert not readers()
        for step in range(5):
            assert torch.equal(stream.rows(step), expected.batch(step))
            assert same(stream.window(step), held.gather(stream.rows(step)))


def test_only_the_columns_that_are_asked_for_are_read(open_store: OpenStore) -> None:
    data = windowed(open_store(), 0)
    held = data.part(WindowSpec(columns=("actions",)), data.rows)
    assert torch.equal(held.at("actions"), data.actions[data.rows])
    with pytest.raises(KeyError, match="observations"):
        held.at(FRAMES)


def test_a_streams_batch_is_a_function_of_its_step(open_store: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resumed at any step, going on from it, going back, and whatever the number of threads."""
    data = windowed(open_store())
    with data.stream(TRANSITION, data.rows, 5, seed=3) as stream:
        straight = [(stream.rows(step), stream.window(step)) for step in range(120)]
    generator = np.random.default_rng(0)
    for num_threads in (1, 3):
        monkeypatch.setattr(tensors, "NUM_READERS", num_threads)
        for start in generator.integers(0, 110, 8):
            with data.stream(TRANSITION, data.rows, 5, seed=3) as resumed:
                for step in [*range(start, start + 8), *generator.integers(0, 120, 12), *range(start, start + 3)]:
                    assert torch.equal(resumed.rows(int(step)), straight[step][0])
                    assert same(resumed.window(int(step)), straight[step][1])
    with data.stream(TRANSITION, data.rows, 5, seed=4) as other:
        assert not torch.equal(drawn(other, range(10)), torch.cat([rows for rows, _ in straight[:10]]))


class Listed:
    """Blocks of these segments, whose rows are in order."""

    def __init__(self, blocks: dict[int, list[int]]) -> None:
        self.blocks = blocks

    def segments_of(self, number: int) -> NDArray[np.int64]:
        return np.array(self.blocks[number])

    def rows_of(self, number: int) -> NDArray[np.int64]:
        return np.concatenate([np.arange(s * CHUNK_ROWS, (s + 1) * CHUNK_ROWS) for s in self.blocks[number]])


def test_a_segment_of_two_blocks_is_found_when_one_of_them_has_left_the_ring(open_store: OpenStore) -> None:
    """The last block of an epoch and the first of the next may share one."""
    store = open_store()
    frames = torch.from_numpy(store.load().frames)
    blocks = Listed({0: [0, 1], 1: [1, 2], 2: [3, 0], 3: [5, 4]})
    with RowRing(
        {"observations": store.rows("observation/frames")},
        Segments(store.num_rows, CHUNK_ROWS, before=1),
        blocks,
        segments_a_block=2,
        device=CPU,
        num_threads=1,
    ) as ring:
        for number in (0, 1, 0, 3, 0, 2, 1, 2, 3, 0):
            rows = ring.load(number)
            assert rows.tolist() == blocks.rows_of(number).tolist()
            assert torch.equal(ring.take("observations", rows[:, None], rows)[:, 0], frames[rows])


def test_columns_of_another_store_go_through_the_ring_with_the_frames(open_store: OpenStore, tmp_path: Path) -> None:
    """Their chunks hold other numbers of rows."""
    store = open_store()
    values = np.random.default_rng(0).normal(size=(store.num_rows, 3)).astype(np.float32)
    codes = np.random.default_rng(1).integers(0, 9, (store.num_rows, 2))
    path = tmp_path / "latents.zarr"
    with LatentWriter(path, episodes=store, lam="l", seed=0, latent_dim=3, num_tokens=2, codebook_size=9) as writer:
        writer.append(values, codes)
    latents = LatentStore.open(path)
    columns = {name: latents.rows(name) for name in ("latents", "codes")}
    assert columns["latents"].chunk_rows != CHUNK_ROWS
    expected = {"latents": torch.from_numpy(values), "codes": torch.from_numpy(codes)}
    for window in (60, 1000):
        data = windowed(store, window, columns=columns)
        with data.stream(context(2, "latents", "codes"), data.rows, 4, seed=0) as stream:
            for step in range(30):
                found, rows = stream.window(step), stream.rows(step)
                for name, wanted in expected.items():
                    assert torch.equal(found.at(name), wanted[rows])


def test_sections_are_all_rows_in_order(open_store: OpenStore) -> None:
    store = open_store()
    data, whole = windowed(store, 0), EpisodeTensors(store.load(), CPU)
    for rows in (data.rows, data.rows[30:33], data.rows[:0]):
        stop, seen = 0, []
        for section in data.sections(TRANSITION, rows):
            assert section.start == stop < section.stop
            stop = section.stop
            assert ((section.rows >= section.start) & (section.rows < section.stop)).all()
            held = whole.part(TRANSITION, section.rows)
            assert same(section.gather(section.rows), held.gather(section.rows))
            seen.append(section.rows)
        assert stop == store.num_rows and torch.equal(torch.cat(seen), rows)
    assert not readers()


def test_a_window_too_small_for_a_batch_is_refused(open_store: OpenStore) -> None:
    data = windowed(open_store())
    with (
        pytest.raises(
            ValueError, match=r"may hold only \d+ of the 113 rows to draw, expected at least the batch of 64"
        ),
        data.stream(TRANSITION, data.rows, 64, seed=0),
    ):
        pass


def damage(store: EpisodeStore, shard: int) -> None:
    file = next((store.path / "observation/frames/c" / str(shard)).rglob("*"))
    file = file if file.is_file() else next(part for part in file.rglob("*") if part.is_file())
    content = bytearray(file.read_bytes())
    content[3] ^= 1
    file.write_bytes(content)


def test_a_damaged_file_is_named_when_it_is_reached_and_no_thread_is_left(open_store: OpenStore) -> None:
    store = open_store()
    data = windowed(store)
    damage(store, 4)
    steps = 0
    with (
        pytest.raises(ValueError, match=r"observation/frames/c/4/0/0/0: chunk 0 is damaged \(its crc32c differs\)"),
        data.stream(TRANSITION, data.rows, 4, seed=1) as stream,
    ):
        for step in range(1000):
            rows = stream.rows(step)
            assert not ((rows >= 4 * 16) & (rows < 4 * 16 + CHUNK_ROWS)).any()
            steps += 1
    assert steps > 0, "it was not the first to be read"
    assert not readers()
    with pytest.raises(ValueError, match=r"observation/frames/c/4/0/0/0: chunk 0 is damaged"):
        for section in windowed(store, 0).sections(TRANSITION):
            assert section.start < 4 * 16
    with pytest.raises(ValueError, match=r"observation/frames/c/4/0/0/0: chunk 0 is damaged"):
        windowed(store, 1000)


def test_no_thread_is_left_when_a_training_fails(open_store: OpenStore) -> None:
    data = windowed(open_store())
    with pytest.raises(KeyError), data.stream(TRANSITION, data.rows, 4, seed=0) as stream:
        stream.window(0)
        assert readers()
        raise KeyError
    assert not readers()


MEASURE = """
import re, sys
from pathlib import Path
from lamflow.data.store import EpisodeStore, array_of
from lamflow.data.tensors import EpisodeTensors
from lamflow.data.windows import TRANSITION

def memory(name):
    return 1024 * int(re.search(name + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

data = EpisodeTensors.open(EpisodeStore.open(sys.argv[1]), window_gib=float(sys.argv[2]))
next(data.part(TRANSITION, data.rows[:64]).windows())
Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
before = memory("VmRSS")
if sys.argv[3] == "stream":
    with data.stream(TRANSITION, data.rows, 64, 0) as stream:
        for step in range(2 * len(data.rows) // 64):
            stream.window(step)
else:
    for section in data.sections(TRANSITION):
        section.gather(section.rows[:64])
print(memory("VmHWM") - before)
"""


@pytest.mark.slow
def test_memory_is_that_of_the_window(tmp_path: Path, write_episodes: Callable[..., Any]) -> None:
    """Two epochs of a store of ten times the window's size; a pass over it holds two blocks of sections."""
    path, window = tmp_path / "train.zarr", 8 << 20
    write_episodes(path, [1000] * 7, env="procgen-bigfish", final=False)
    assert EpisodeStore.open(path).num_rows * 64 * 64 * 3 > 10 * window
    bounds = {"stream": window, "sections": 2 * tensors.NUM_READERS * tensors.SEGMENT_BYTES}
    for part, expected in bounds.items():
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, str(path), str(window / 2**30), part],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")},
        )
        grown = int(done.stdout)
        assert expected / 2 < grown < expected + (40 << 20), "beside it a batch, and chunks of each thread"
