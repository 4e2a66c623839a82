"""Copies on a node's own disk."""

import shutil
import time
from collections import namedtuple
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from lamflow.data import scratch
from lamflow.data.chunk_reader import RowReader
from lamflow.data.scratch import VARIABLE, on_scratch
from lamflow.data.store import EpisodeStore
from lamflow.data.tensors import EpisodeTensors
from lamflow.data.windows import TRANSITION


@pytest.fixture
def store(write_walks: Callable[..., Path], tmp_path: Path) -> EpisodeStore:
    return EpisodeStore.open(write_walks(tmp_path / "shared" / "train.zarr", episodes=30))


@pytest.fixture
def reader(store: EpisodeStore) -> RowReader:
    return store.rows("observation/frames")


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The node's own disk, as $NODE_DISK."""
    monkeypatch.setenv("NODE_DISK", str(tmp_path / "disk"))
    monkeypatch.setenv(VARIABLE, "$NODE_DISK")
    return tmp_path / "disk"


def copies_on(disk: Path) -> list[Path]:
    return sorted(path for path in disk.joinpath("lamflow").iterdir() if path.suffix != ".lock")


def test_without_the_variable_nothing_is_copied(reader: RowReader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert on_scratch(reader) is reader


def test_a_copy_has_the_same_rows_and_is_made_once(reader: RowReader, disk: Path) -> None:
    copied = on_scratch(reader)
    assert [copied.folder] == copies_on(disk)
    assert (copied.read(0, reader.num_rows) == reader.read(0, reader.num_rows)).all()
    (file, *_) = (path for path in copied.folder.rglob("*") if path.is_file())
    made = file.stat().st_ctime_ns
    assert on_scratch(reader) == copied
    assert file.stat().st_ctime_ns == made


def test_an_array_that_was_written_anew_is_copied_anew(
    reader: RowReader, disk: Path, store: EpisodeStore, write_walks: Callable[..., Path]
) -> None:
    old = on_scratch(reader)
    shutil.rmtree(store.path)
    write_walks(store.path, episodes=31, first_level=9)
    new = on_scratch(EpisodeStore.open(store.path).rows("observation/frames"))
    assert copies_on(disk) == sorted([old.folder, new.folder])


def test_a_full_disk_is_said_and_the_array_is_read_where_it_is(
    reader: RowReader, disk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10))
    assert on_scratch(reader) is reader
    assert "could not be copied" in capsys.readouterr().out
    assert copies_on(disk) == []


def test_a_copy_that_breaks_off_leaves_nothing(reader: RowReader, disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(source: Path, target: Path) -> None:
        target.mkdir()
        target.joinpath("half").write_bytes(b"half")
        raise OSError(f"{source}: input/output error")

    monkeypatch.setattr(scratch.shutil, "copytree", broken)
    assert on_scratch(reader) is reader
    assert copies_on(disk) == []


def test_of_two_jobs_that_come_at_once_one_copies_and_both_read_the_copy(
    reader: RowReader, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, made = scratch.copy_folder, []

    def slowly(folder: Path, copied: Path, *, num_bytes: int) -> None:
        made.append(copied)
        time.sleep(0.2)
        copy(folder, copied, num_bytes=num_bytes)

    monkeypatch.setattr(scratch, "copy_folder", slowly)
    with ThreadPoolExecutor() as jobs:
        found = list(jobs.map(on_scratch, [reader, reader]))
    assert [one.folder for one in found] == copies_on(disk) * 2
    assert len(made) == 1


@pytest.mark.parametrize("folder", ["$NOT_SET_ON_THIS_NODE/scratch", "scratch"])
def test_a_path_that_is_none_is_said_and_nothing_is_copied(
    reader: RowReader, folder: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, folder)
    assert on_scratch(reader) is reader
    assert f"found {folder!r}, expected an absolute path" in capsys.readouterr().out


def test_streams_read_the_copy_and_draw_the_same_batches(
    store: EpisodeStore, disk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def batches() -> list[torch.Tensor]:
        data = EpisodeTensors.open(store, window_gib=400 * store.rows("observation/frames").row_bytes / 2**30)
        with data.stream(TRANSITION, data.rows, batch_size=16, seed=3) as stream:
            return [stream.window(step).frames.clone() for step in range(12)]

    found = batches()
    (copied,) = copies_on(disk)
    assert f"is read from its copy {copied}" in capsys.readouterr().out
    monkeypatch.delenv(VARIABLE)
    assert all(torch.equal(one, other) for one, other in zip(found, batches(), strict=True))
