"""Stores of unions: rows of several stores as those of one, drawn by share, in one window of memory, on stores with chunks of four rows."""

from __future__ import annotations

import shutil
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lamflow.data import group_writer
from lamflow.data.held_windows import WindowStream
from lamflow.data.label_budgets import LabelBudget
from lamflow.data.labels import draw_labels
from lamflow.data.latents import LatentStore, LatentWriter
from lamflow.data.mixed_rows import MixedMemory
from lamflow.data.shares import BatchShares, MemberShares
from lamflow.data.store import EpisodeStore, array_of
from lamflow.data.tensors import EpisodeTensors
from lamflow.data.unions import join_stores
from lamflow.data.validate import store_problems
from lamflow.data.windows import FRAMES, TRANSITION, WindowSpec
from lamflow.envs.presets import preset
from lamflow.envs.spec import EnvironmentSpec
from lamflow.envs.union_facts import describe
from lamflow.envs.union_settings import UnionSettings

ROW_BYTES = 50
CHUNK_ROWS = 4
LENGTHS = ((9, 1, 17, 2, 5, 30), (3, 8, 12), (1, 25, 4, 9, 40, 2, 7))
NAMES = ("first", "second", "third")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where stores are kept that no test changes."""
    return tmp_path_factory.mktemp("members")


@pytest.fixture
def joined(
    tmp_path: Path, written: Path, write_episodes: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., EpisodeStore]:
    """Opens a union of stores of random episodes, one per environment: 4 rows per chunk, 16 per shard file. ``own``: beside it, for the
    test to change them."""
    monkeypatch.setattr(group_writer, "CHUNK_BYTES", CHUNK_ROWS * ROW_BYTES)
    monkeypatch.setattr(group_writer, "CHUNKS_A_SHARD", 4)

    def opened(
        shares: Sequence[float] | None = (0.5, 0.25, 0.25),
        lengths: Sequence[Sequence[int]] = LENGTHS,
        *,
        own: bool = False,
    ) -> EpisodeStore:
        specs = {name: replace(preset("xland-doorkey-5x5"), name=name) for name in NAMES[: len(lengths)]}
        folder = tmp_path if own else written / "-".join(str(sum(part)) for part in lengths)
        stores = [folder / name / "train.zarr" for name in specs]
        for place, (path, spec, part) in enumerate(zip(stores, specs.values(), lengths, strict=True)):
            if not path.exists():
                write_episodes(path, part, spec, seed=1000 * place)
        spec = describe(UnionSettings(members=tuple(specs)), "union", specs)
        path = tmp_path / "union" / "train.zarr"
        join_stores(path, stores, spec=spec, split="train", shares=shares)
        return EpisodeStore.open(path, env="union")

    return opened


JoinedStore = Callable[..., EpisodeStore]


def windowed(store: EpisodeStore, rows: int = 120, **options: Any) -> EpisodeTensors:
    """The split with a window of so many rows of memory."""
    return EpisodeTensors.open(store, window_gib=rows * ROW_BYTES / 2**30, device=CPU, **options)


def whole(store: EpisodeStore) -> EpisodeTensors:
    return EpisodeTensors(store.load(), CPU)


def members_of(store: EpisodeStore, rows: torch.Tensor) -> list[int]:
    assert store.shares is not None
    found: list[int] = store.shares.of(rows.numpy()).tolist()
    return found


def test_its_rows_are_those_of_its_members_one_after_the_other(joined: JoinedStore) -> None:
    store = joined()
    arrays, parts = store.load(), [member.load() for member in store.members]
    assert store.num_rows == arrays.num_rows == sum(part.num_rows for part in parts)
    for name in ("actions", "acted", "rewards", "terminated", "truncated", "level_seeds", "frames"):
        assert np.array_equal(getattr(arrays, name), np.concatenate([getattr(part, name) for part in parts])), name
    firsts = np.cumsum([0, *(part.num_rows for part in parts)])
    starts = np.concatenate([part.episode_starts + first for part, first in zip(parts, firsts, strict=False)])
    assert np.array_equal(arrays.episode_starts, starts)
    assert arrays.members is not None
    assert arrays.members.starts.tolist() == firsts[:-1].tolist()


def test_any_rows_can_be_read(joined: JoinedStore) -> None:
    store, generator = joined(), np.random.default_rng(0)
    frames, reader = store.load().frames, store.rows(array_of(store.spec.main))
    array = store.array(array_of(store.spec.main))
    for _ in range(40):
        start, stop = sorted(generator.integers(0, store.num_rows + 1, 2).tolist())
        assert np.array_equal(reader.read(start, stop), frames[start:stop])
        assert np.array_equal(array[start:stop], frames[start:stop])
        rows = generator.integers(0, store.num_rows, 9)
        assert np.array_equal(reader.read_rows(rows), frames[rows])


def test_it_takes_no_room_and_moves_with_its_members(joined: JoinedStore, tmp_path: Path) -> None:
    store = joined(own=True)
    assert [path.name for path in store.path.rglob("*")] == ["zarr.json"]
    moved = tmp_path.with_name(f"{tmp_path.name}-moved")
    shutil.move(tmp_path, moved)
    again = EpisodeStore.open(moved / "union" / "train.zarr")
    assert again.digest == store.digest
    assert again.load().num_rows == store.num_rows


def test_a_member_that_has_changed_is_refused(
    joined: JoinedStore, tmp_path: Path, write_episodes: Callable[..., Any]
) -> None:
    path = joined(own=True).path
    assert store_problems(path) == []
    write_episodes(tmp_path / "second" / "train.zarr", (4, 4), replace(preset("xland-doorkey-5x5"), name="second"))
    with pytest.raises(
        ValueError, match=r"joins .*second/train\.zarr of digest .*, and found one of digest .*: delete it"
    ):
        EpisodeStore.open(path)
    assert "found one of digest" in store_problems(path)[0]
    shutil.rmtree(tmp_path / "second")
    with pytest.raises(ValueError, match="second"):
        EpisodeStore.open(path)


def test_stores_of_other_splits_are_refused(joined: JoinedStore, tmp_path: Path) -> None:
    store = joined()
    with pytest.raises(ValueError, match="found split 'train', expected 'test': give the store of that split"):
        join_stores(tmp_path / "u.zarr", [store.members[0].path], spec=store.spec, split="test", shares=None)


@pytest.mark.parametrize("rows", [10_000, 120], ids=["in memory", "streamed"])
@pytest.mark.parametrize("shares", [(0.5, 0.25, 0.25), (0.1, 0.7, 0.2), None], ids=str)
def test_each_batch_has_each_member_by_its_share(
    shares: Sequence[float] | None, rows: int, joined: JoinedStore
) -> None:
    store = joined(shares)
    data, batch, steps = windowed(store, rows), 7, 300
    wanted = np.array(shares or [member.num_transitions / store.num_transitions for member in store.members])
    with data.stream(WindowSpec(columns=("actions",)), data.rows, batch, seed=3) as stream:
        counts = np.array([np.bincount(members_of(store, stream.rows(step)), minlength=3) for step in range(steps)])
    assert (np.abs(counts - batch * wanted) < 1).all()
    # A count is one of two neighbours, so its variance is at most 1/4.
    assert np.abs(counts.mean(0) - batch * wanted).max() < 4 * 0.5 / steps**0.5


def test_the_shares_of_batches_are_exact_in_expectation() -> None:
    shares = np.array([0.015, 0.5, 0.1, 0.385])
    spans = np.array([BatchShares(shares, 10, seed).spans(4000) for seed in range(100)])
    found, error = spans[..., 0].mean(0) / 4000, 0.5 / 400_000**0.5
    assert np.abs(found - 10 * shares).max() < 4 * error
    assert np.abs(found - 10 / 4).max() > 4 * error, "a control: equal shares are told apart"


def test_the_positions_of_steps_follow_each_other_wherever_one_begins() -> None:
    straight = BatchShares(np.array([0.3, 0.7]), 5, seed=1)
    spans = [straight.spans(step) for step in range(4100)]
    for before, after in pairwise(spans):
        assert [stop for _, stop in before] == [start for start, _ in after]
    assert all(sum(stop - start for start, stop in span) == 5 for span in spans)
    assert BatchShares(np.array([0.3, 0.7]), 5, seed=1).spans(4099) == spans[4099]


@pytest.mark.parametrize("rows", [10_000, 120], ids=["in memory", "streamed"])
def test_each_row_of_a_member_is_drawn_once_an_epoch_of_the_member(rows: int, joined: JoinedStore) -> None:
    store = joined()
    data = windowed(store, rows)
    with data.stream(TRANSITION, data.rows, 4, seed=0) as stream:
        drawn = torch.cat([stream.rows(step) for step in range(300)])
    for member, opened in enumerate(store.members):
        mine = drawn[torch.tensor(members_of(store, drawn)) == member][: opened.num_transitions]
        assert len(set(mine.tolist())) == opened.num_transitions


@pytest.mark.parametrize("rows", [10_000, 120], ids=["in memory", "streamed"])
@pytest.mark.parametrize("spec", [TRANSITION, WindowSpec(before=3), WindowSpec(before=1, ahead=4)], ids=str)
def test_no_window_crosses_a_member_or_an_episode(spec: WindowSpec, rows: int, joined: JoinedStore) -> None:
    store = joined()
    data, gathered = windowed(store, rows), spec.with_columns("actions", array_of("proprioception"))
    frames = torch.from_numpy(store.load().frames)
    with data.stream(gathered, data.rows, 6, seed=5) as stream:
        for step in range(60):
            window, drawn = stream.window(step), stream.rows(step)
            assert torch.equal(window.at(FRAMES), frames[drawn])
            assert torch.equal(window.at("actions"), data.actions[drawn])
            for offset in range(-spec.before, spec.after + 1):
                wanted = drawn + offset
                inside = (wanted >= data.bounds.starts[drawn]) & (wanted <= data.bounds.lasts[drawn])
                assert torch.equal(window.inside[:, spec.before + offset], inside)
                nearest = wanted.clamp(data.bounds.starts[drawn], data.bounds.lasts[drawn])
                assert torch.equal(window.frames[:, spec.before + offset], frames[nearest])


def sequence(stream: WindowStream, steps: Sequence[int] | range) -> list[list[int]]:
    return [stream.rows(step).tolist() for step in steps]


@pytest.mark.parametrize("rows", [10_000, 120], ids=["in memory", "streamed"])
def test_the_same_seed_gives_the_same_order_and_a_resumed_stream_goes_on_in_it(rows: int, joined: JoinedStore) -> None:
    store = joined()
    found = []
    for seed, steps in ((1, range(50)), (1, range(30, 50)), (2, range(50))):
        data = windowed(store, rows)
        with data.stream(TRANSITION, data.rows, 6, seed) as stream:
            found.append(sequence(stream, steps))
    straight, resumed, other = found
    assert resumed == straight[30:]
    assert other != straight


@pytest.fixture
def memories(monkeypatch: pytest.MonkeyPatch) -> list[MixedMemory]:
    """Those that are made from now on."""
    found: list[MixedMemory] = []
    made = MixedMemory.__init__

    def noted(self: MixedMemory, *arguments: Any) -> None:
        made(self, *arguments)
        found.append(self)

    monkeypatch.setattr(MixedMemory, "__init__", noted)
    return found


def test_memory_is_that_of_one_window(joined: JoinedStore, memories: list[MixedMemory]) -> None:
    store = joined()
    data = windowed(store, 150)
    with data.stream(TRANSITION, data.rows, 6, seed=0) as stream:
        stream.window(0)
        assert any(thread.name.startswith("row-reader") for thread in threading.enumerate())
        (memory,) = memories
        held = sum(memory.place(lane).columns[FRAMES].nbytes for lane in range(3))
    assert held <= 150 * ROW_BYTES < store.num_rows * ROW_BYTES
    assert not any(thread.name.startswith("row-reader") for thread in threading.enumerate())
    data = windowed(store, 20)
    refusal = pytest.raises(ValueError, match=r"a window of .* GiB for first, a half of which may hold only")
    with refusal, data.stream(TRANSITION, data.rows, 40, seed=0):
        pass


def test_a_member_that_fits_into_its_share_of_the_window_is_held_whole(
    joined: JoinedStore, memories: list[MixedMemory]
) -> None:
    store = joined((0.35, 0.3, 0.35))
    assert [member.num_rows < 0.3 * 130 for member in store.members] == [False, True, False]
    data, frames = windowed(store, 130), torch.from_numpy(store.load().frames)
    with data.stream(TRANSITION, data.rows, 5, seed=0) as stream:
        stream.window(0)
        (memory,) = memories
        assert [memory.place(lane).columns[FRAMES].shape[0] for lane in range(3)][1] == store.members[1].num_rows
        for step in range(60):
            assert torch.equal(stream.window(step).at(FRAMES), frames[stream.rows(step)])


def test_rows_of_some_members_are_drawn_by_what_is_left_of_the_shares(joined: JoinedStore) -> None:
    store = joined((0.5, 0.3, 0.2))
    data = whole(store)
    mine = data.rows[torch.tensor(members_of(store, data.rows)) != 0]
    with data.stream(TRANSITION, mine, 10, seed=0) as stream:
        counts = Counter(members_of(store, torch.cat([stream.rows(step) for step in range(50)])))
    assert counts == {1: 300, 2: 200}


def test_sections_and_latents_have_the_rows_of_the_whole(joined: JoinedStore, tmp_path: Path) -> None:
    store = joined()
    values = np.arange(store.num_rows * 2, dtype=np.float32).reshape(-1, 2)
    with LatentWriter(tmp_path / "latents.zarr", episodes=store, lam="lapo", seed=0, latent_dim=2) as writer:
        writer.append(values)
    latents = LatentStore.open(tmp_path / "latents.zarr", env="union", episodes=store)
    data = windowed(store, 140, columns={"latents": latents.rows("latents")})
    rows = torch.cat([section.rows for section in data.sections(TRANSITION)])
    assert torch.equal(rows, data.rows)
    with data.stream(TRANSITION.with_columns("latents"), data.rows, 5, seed=1) as stream:
        for step in range(40):
            assert torch.equal(stream.window(step).at("latents"), torch.from_numpy(values)[stream.rows(step)])


def test_labels_are_drawn_by_share_and_a_smaller_draw_begins_a_larger_one(joined: JoinedStore) -> None:
    store = joined((0.5, 0.25, 0.25))
    arrays = store.load(frames=False)
    totals = np.zeros(3)
    for draw in range(100):
        rows = draw_labels(arrays, LabelBudget(16), draw=draw, seed=0)
        assert len(set(rows.tolist())) == 16
        assert rows[:5].tolist() == draw_labels(arrays, LabelBudget(5), draw=draw, seed=0).tolist()
        totals += np.bincount(members_of(store, rows), minlength=3)
    assert np.abs(totals / 100 - 16 * np.array([0.5, 0.25, 0.25])).max() < 0.25
    trajectories = draw_labels(arrays, LabelBudget(4, "trajectories"), draw=0, seed=0)
    assert len(set(np.searchsorted(arrays.episode_starts, trajectories.numpy(), side="right").tolist())) == 4
    assert len(set(members_of(store, trajectories))) > 1


def test_a_member_with_too_few_labels_for_its_share_is_named(joined: JoinedStore) -> None:
    store = joined((0.1, 0.8, 0.1))
    named = r"train\.zarr: label count 60 transitions: second has a share of 0\.8 of them, and its episodes hold 23"
    with pytest.raises(ValueError, match=named):
        draw_labels(store.load(frames=False), LabelBudget(60), draw=0, seed=0, store=store.path)


def test_all_labels_may_be_drawn_where_shares_allow_it(joined: JoinedStore) -> None:
    store = joined((0.5, 0.5), [(5, 3, 4), (6, 2, 8)])
    arrays = store.load(frames=False)
    for draw in range(10):
        every = draw_labels(arrays, LabelBudget(6, "trajectories"), draw=draw, seed=0)
        assert len(set(every.tolist())) == 28
        fewer = draw_labels(arrays, LabelBudget(5, "trajectories"), draw=draw, seed=0)
        assert every[: len(fewer)].tolist() == fewer.tolist()


@pytest.mark.parametrize("count", [1, 2, 7])
def test_every_draw_of_a_sequence_has_the_shares(count: int) -> None:
    members = MemberShares(NAMES, np.array([0, 10, 20]), np.array([0.2, 0.7, 0.1]))
    last = [members.sequence(count, np.random.default_rng(seed))[-1] for seed in range(6000)]
    assert np.abs(np.bincount(last, minlength=3) / 6000 - members.shares).max() < 4 * 0.5 / 6000**0.5


def test_a_sample_is_by_share_and_filled_up_by_who_has_rows(joined: JoinedStore) -> None:
    store = joined((0.2, 0.6, 0.2))
    data = whole(store)
    assert np.abs(np.bincount(members_of(store, data.sample(20))) - 20 * np.array([0.2, 0.6, 0.2])).max() < 2
    assert sorted(data.sample(10_000).tolist()) == data.rows.tolist()
    counts = np.bincount(members_of(store, data.sample(100)))
    assert counts[1] == store.members[1].num_transitions
    assert counts.sum() == 100


def test_the_main_part_may_have_another_name_in_a_member(tmp_path: Path, write_episodes: Callable[..., Any]) -> None:
    known = preset("xland-doorkey-5x5")
    other = EnvironmentSpec(
        **{**{name: getattr(known, name) for name in ("action", "max_steps", "action_names", "own")}, "name": "other"},
        family="xland",
        observation={"map": known.main_part},
        main="map",
    )
    write_episodes(tmp_path / "a.zarr", (3, 4), known)
    write_episodes(tmp_path / "b.zarr", (5,), other)
    spec = describe(UnionSettings(members=(known.name, "other")), "both", {known.name: known, "other": other})
    assert list(spec.observation) == ["frames"]
    assert spec.own["left_out"] == ["proprioception"]
    join_stores(tmp_path / "u.zarr", [tmp_path / "a.zarr", tmp_path / "b.zarr"], spec=spec, split="train", shares=None)
    arrays = EpisodeStore.open(tmp_path / "u.zarr").load()
    assert np.array_equal(arrays.frames[-6:], EpisodeStore.open(tmp_path / "b.zarr").load().frames)
