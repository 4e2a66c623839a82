"""Importing LAPO's published data from archives in its form."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lapo_files import SETTINGS, TEST_ROWS, TRAIN_ROWS, Chunk, game_chunks, played, write_zip

from lamflow.data import group_writer
from lamflow.data.lapo_chunks import Part, episode_parts
from lamflow.data.store import EpisodeStore
from lamflow.data.validate import store_problems
from lamflow.data.zip_member import MemberReader
from lamflow.envs.presets import preset
from lamflow.stages.import_lapo import import_lapo

ENV = "procgen-leaper"


def imported(archive: Path, split: str = "train", **settings: Any) -> EpisodeStore:
    output = archive.parent / f"{split}.zarr"
    import_lapo(
        environment=preset(ENV).facts(), split=split, settings=SETTINGS | settings, archive=archive, output=output
    )
    return EpisodeStore.open(output, env=ENV)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return write_zip(tmp_path / "leaper.zip", game_chunks())


def marked_first(chunk: Chunk) -> Chunk:
    """The same chunk with `done` on the first row of an episode instead of the last."""
    return chunk | {"done": np.concatenate([[False], chunk["done"][:-1]])}


def test_the_frames_actions_and_rewards_of_a_chunk_are_all_in_the_store(archive: Path) -> None:
    store, chunk = imported(archive, "test"), played(TEST_ROWS, 7)
    arrays = store.load()
    np.testing.assert_array_equal(arrays.frames, chunk["obs"])
    np.testing.assert_array_equal(arrays.actions, chunk["ta"])
    np.testing.assert_array_equal(arrays.rewards, chunk["rewards"])
    assert arrays.level_seeds.tolist() == [-1] * store.num_episodes
    assert store_problems(store.path) == []
    expected = {"licence": "a test", "return_expert": 7.4, "return_random": 2.5, "final_observations": False}
    assert {name: store.attributes[name] for name in expected} == expected


@pytest.mark.parametrize("first", [False, True])
def test_episodes_end_where_the_simulator_ended_them_whichever_row_done_marks(tmp_path: Path, first: bool) -> None:
    chunk = played(TRAIN_ROWS, 100)
    ends = np.flatnonzero(chunk["done"]) + 1
    assert len(ends) >= 3 and ends[-1] < TRAIN_ROWS
    chunks = game_chunks() | {"train/7": marked_first(chunk) if first else chunk}
    store = imported(write_zip(tmp_path / "leaper.zip", chunks), train_chunks=1)
    arrays = store.load()
    assert store.attributes["episode_marks"] == ("first" if first else "last")
    assert arrays.episode_starts.tolist() == [0, *ends]
    assert np.flatnonzero(arrays.terminated).tolist() == (ends - 1).tolist()
    assert np.flatnonzero(arrays.truncated).tolist() == [TRAIN_ROWS - 1]


def test_chunk_borders_are_cut_and_the_parts_they_cut_off_do_not_count_as_returns(archive: Path) -> None:
    store = imported(archive, train_chunks=2)
    arrays = store.load()
    assert {0, TRAIN_ROWS} <= set(arrays.episode_starts.tolist())
    assert arrays.truncated[[TRAIN_ROWS - 1, 2 * TRAIN_ROWS - 1]].all()
    returns = []
    for level in (800, 900):
        chunk = played(TRAIN_ROWS, level)
        ends = np.flatnonzero(chunk["done"]) + 1
        returns += [chunk["rewards"][a:b].sum() for a, b in pairwise(ends)]
    assert store.attributes["return_behaviour"] == pytest.approx(np.mean(returns))
    assert store.attributes["num_partial_episodes"] == 4


def test_splits_take_chunks_by_number_and_share_no_episode(archive: Path) -> None:
    train, validation = imported(archive).load(), imported(archive, "validation").load()
    expected = np.concatenate([played(TRAIN_ROWS, 100 * number)["obs"] for number in (8, 9)])
    np.testing.assert_array_equal(train.frames, expected)
    last = played(TRAIN_ROWS, 1000)
    first_end = np.flatnonzero(last["done"])[0] + 1
    np.testing.assert_array_equal(validation.frames, last["obs"][first_end:])


@pytest.mark.parametrize(
    ("done", "marks", "parts"),
    [
        ([0, 1, 0, 0], "last", [Part(0, 2, False, True), Part(2, 4, True, False)]),
        ([0, 1, 0, 1], "last", [Part(0, 2, False, True), Part(2, 4, True, True)]),
        ([1, 0, 1, 0], "first", [Part(0, 2, True, True), Part(2, 4, True, False)]),
        ([0, 0, 0, 1], "first", [Part(0, 3, False, True), Part(3, 4, True, False)]),
        ([0, 0, 0, 0], "last", [Part(0, 4, False, False)]),
    ],
)
def test_a_chunk_is_cut_into_parts(done: list[int], marks: Any, parts: list[Part]) -> None:
    assert episode_parts(np.array(done, np.bool_), marks) == parts


def test_done_that_stands_where_no_level_begins_is_refused(tmp_path: Path) -> None:
    chunk = played(TRAIN_ROWS, 100)
    still = chunk | {"obs": np.repeat(chunk["obs"][:1], TRAIN_ROWS, axis=0)}
    archive = write_zip(tmp_path / "leaper.zip", game_chunks() | {"train/7": still})
    with pytest.raises(ValueError, match=r"train/7\.npz: frames change by 0\.0 of 255 .* done does not mark episodes"):
        imported(archive)


def test_an_episode_longer_than_the_games_time_limit_is_refused(tmp_path: Path) -> None:
    rows = 600
    endless = {key: np.repeat(values[:1], rows, axis=0) for key, values in played(TRAIN_ROWS, 100).items()}
    endless["done"][:] = False
    archive = write_zip(tmp_path / "leaper.zip", {"train/0": endless, "train/1": endless})
    with pytest.raises(ValueError, match=r"found 600 rows from row 0 on without an end .* at most 500"):
        imported(archive, train_chunk_rows=rows)


GOOD = played(TRAIN_ROWS, 100)


@pytest.mark.parametrize(
    ("chunk", "message"),
    [
        ({k: v for k, v in GOOD.items() if k != "done"}, r"key done is missing, found obs, ta, rewards"),
        (
            GOOD | {"obs": GOOD["obs"].transpose(0, 3, 1, 2)},
            r"obs is uint8 \[256, 3, 64, 64\], expected uint8 \[256, 64, 64, 3\]",
        ),
        (GOOD | {"obs": GOOD["obs"].astype(np.float32)}, r"obs is float32 \[256, 64, 64, 3\], expected uint8"),
        (GOOD | {"ta": GOOD["ta"][:, None]}, r"ta is int64 \[256, 1\], expected an integer type \[256\]"),
        (GOOD | {"ta": GOOD["ta"][:-1]}, r"ta is int64 \[255\].*: a chunk of 255 rows, expected 256"),
        (
            {k: v[:90] for k, v in GOOD.items()},
            r"ta is int64 \[90\]: a chunk of 90 rows, expected 256, the length of all chunks",
        ),
        (GOOD | {"ta": GOOD["ta"] + 1}, r"ta: found values from 1 to 15, expected finite ones from 0 to 14"),
        (GOOD | {"ta": GOOD["ta"].astype(object)}, r"ta is object \[256\], expected an integer type"),
        (GOOD | {"rewards": GOOD["rewards"] * np.float32("nan")}, r"rewards: found values from nan to nan"),
        (GOOD | {"done": GOOD["done"] * 2}, r"done: found values from 0 to 2"),
        (GOOD | {"done": GOOD["done"] * 0.5}, r"done: found 0\.5 in row \d+, expected 0 or 1"),
    ],
)
def test_a_chunk_of_another_form_is_named_and_leaves_no_store(tmp_path: Path, chunk: Chunk, message: str) -> None:
    archive = write_zip(tmp_path / "leaper.zip", game_chunks() | {"train/7": chunk})
    with pytest.raises(ValueError, match=r"leaper\.zip: expert_data/leaper/train/7\.npz: " + message):
        imported(archive)
    assert not any("zarr" in file.name for file in tmp_path.iterdir())


def test_a_truncated_archive_is_refused(archive: Path) -> None:
    os.truncate(archive, archive.stat().st_size // 2)
    with pytest.raises(ValueError, match=r"leaper\.zip: damaged or cut off \(BadZipFile: .*download it again"):
        imported(archive)


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_streams_as_zipfile_reads_it_and_its_checksum_is_checked(packing: int) -> None:
    content, inside = np.random.default_rng(0).integers(0, 4, 3_000_000, np.uint8).tobytes(), io.BytesIO()
    with zipfile.ZipFile(inside, "w", packing) as archive:
        archive.writestr("before", b"x")
        archive.writestr("wanted", content)
    info = zipfile.ZipFile(inside).getinfo("wanted")
    with MemberReader(inside.getvalue(), info) as reader:
        assert reader.read(10) == content[:10]
        assert reader.read(len(content)) == content[10:] and reader.read(1) == b""
        reader.rewind()
        assert reader.read(5) == content[:5]
    info.CRC ^= 1
    with (
        MemberReader(inside.getvalue(), info) as reader,
        pytest.raises(zipfile.BadZipFile, match="bad checksum of wanted"),
    ):
        reader.read(len(content) + 1)


@pytest.mark.slow
def test_flipped_bytes_anywhere_in_a_chunk_are_found(archive: Path) -> None:
    content = archive.read_bytes()
    for position in range(200, content.index(b"train/10.npz") - 100, 4001):
        archive.write_bytes(content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :])
        Path(f"{archive}.lock.json").unlink(missing_ok=True)
        with pytest.raises(ValueError, match=r"train/8\.npz.*: damaged or cut off"):
            imported(archive)
    assert not (archive.parent / "train.zarr").exists()


def test_an_archive_of_another_game_is_refused(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "leaper.zip", game_chunks(), prefix="bigfish/")
    with pytest.raises(ValueError, match=r"found bigfish/train/8\.npz, expected chunks of leaper"):
        imported(archive)


@pytest.mark.parametrize("prefix", ["expert_data/leaper/", "leaper/", ""])
def test_chunks_are_found_below_any_folder(tmp_path: Path, prefix: str) -> None:
    archive = write_zip(tmp_path / "leaper.zip", game_chunks(), prefix=prefix)
    assert imported(archive, "test").num_rows == TEST_ROWS


def unpacked(archive: Path, folder: str = "") -> Path:
    """What `unzip` makes of it."""
    root = archive.parent / "unpacked"
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(root)
    return root / folder


@pytest.mark.parametrize("folder", ["", "expert_data", "expert_data/leaper"])
def test_a_folder_into_which_the_zip_was_unpacked_gives_the_same_stores(archive: Path, folder: str) -> None:
    from_zip = imported(archive, "test").load()
    path = unpacked(archive, folder)
    from_folder = imported(path, "test").load()
    for name in ("frames", "actions", "rewards", "terminated", "truncated", "episode_starts"):
        np.testing.assert_array_equal(getattr(from_folder, name), getattr(from_zip, name))
    record = json.loads(path.parent.joinpath("test.json").read_text())
    assert record["inputs"]["archive"]["path"].endswith("expert_data/leaper")


def test_a_folder_that_holds_all_games_gives_the_one_that_is_asked_for(archive: Path) -> None:
    root = unpacked(archive)
    (root / "expert_data" / "bigfish" / "train").mkdir(parents=True)
    (root / "expert_data" / "bigfish" / "train" / "0.npz").write_bytes(b"of another game")
    assert imported(root, "test").num_rows == TEST_ROWS
    with pytest.raises(
        ValueError, match=r"bigfish: found chunks of bigfish, expected chunks of leaper: give the folder"
    ):
        imported(root / "expert_data" / "bigfish")


def test_a_folder_of_another_form_is_named(archive: Path) -> None:
    root = unpacked(archive)
    (root / "expert_data" / "leaper" / "train" / "9.npz").unlink()
    with pytest.raises(
        ValueError, match=r"leaper: found train/8\.npz and then train/10\.npz, expected numbers without a gap"
    ):
        imported(root)
    chunk = root / "expert_data" / "leaper" / "test" / "0.npz"
    chunk.write_bytes(chunk.read_bytes()[:5000])
    (root / "expert_data" / "leaper" / "train" / "8.npz").unlink()
    with pytest.raises(ValueError, match=r"leaper: test/0\.npz: damaged or cut off"):
        imported(root, "test")
    chunk.write_bytes(bytes(5_000_000))
    with pytest.raises(ValueError, match=r"leaper: test/0\.npz: found 5000000 bytes, expected at most"):
        imported(root, "test")
    with pytest.raises(
        ValueError, match=r"elsewhere: found no folder leaper/train or leaper/test, in it or in expert_data"
    ):
        (root / "elsewhere").mkdir()
        imported(root / "elsewhere")


def test_too_few_chunks_are_refused(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "leaper.zip", {"train/0": GOOD})
    for split in ("train", "validation", "test"):
        with pytest.raises(ValueError, match=rf"found 1 chunks in train/ and 0 in test/, expected .* {split} split"):
            imported(archive, split)


def test_a_full_disk_names_the_store_and_the_room_it_needs(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(group_writer.ArrayWriter, "write_shard", full)
    with pytest.raises(
        OSError, match=r"writing stopped after 512 rows .*needs about \d\.\d+ GB.*train\.zarr"
    ) as caught:
        imported(archive)
    assert caught.value.errno == errno.ENOSPC
    assert not any("zarr" in file.name for file in archive.parent.iterdir())


def test_an_archive_that_changed_since_it_was_first_seen_is_refused(archive: Path) -> None:
    imported(archive, "test")
    write_zip(archive, game_chunks() | {"train/11": GOOD})
    with pytest.raises(ValueError, match=r"leaper\.zip: found size \d+, expected \d+ \(.*lock\.json"):
        imported(archive, "test")


PEAK = """
import json, re, sys
from lamflow.stages.import_lapo import import_lapo
import_lapo(**json.loads(sys.argv[1]))
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024)
"""


@pytest.mark.slow
def test_ten_chunks_need_no_more_memory_than_one(tmp_path: Path) -> None:
    rows = 2048
    chunk = {key: np.resize(values, (rows, *values.shape[1:])) for key, values in played(512, 100).items()}
    chunk["done"][511::512] = True
    archive = write_zip(tmp_path / "leaper.zip", {f"train/{number}": chunk for number in range(11)})
    peaks = []
    for count in (1, 10):
        arguments = {
            "environment": preset(ENV).facts(),
            "split": "train",
            "settings": SETTINGS | {"train_chunk_rows": rows, "train_chunks": count},
            "archive": str(archive),
            "output": str(tmp_path / f"{count}.zarr"),
        }
        result = subprocess.run(
            [sys.executable, "-c", PEAK, json.dumps(arguments)], capture_output=True, text=True, check=True
        )
        peaks.append(int(result.stdout))
    one_chunk = rows * 64 * 64 * 3 >> 20
    assert peaks[1] < peaks[0] + one_chunk // 2, peaks
