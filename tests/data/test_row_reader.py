"""Parts of an array are read as zarr reads them, and damage is found in what is read, and only there."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from lamflow.data import group_writer
from lamflow.data.chunk_reader import RowReader
from lamflow.data.group_writer import ArraySpec, GroupWriter

SPEC = ArraySpec("values", "int64", (3,))
CHUNK_ROWS, SHARD_ROWS = 4, 12
MakeReader = Callable[[int], RowReader]


@pytest.fixture
def make_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeReader:
    """Writes an array of so many rows and opens it."""
    monkeypatch.setattr(group_writer, "CHUNK_BYTES", CHUNK_ROWS * 8 * math.prod(SPEC.row_shape))
    monkeypatch.setattr(group_writer, "CHUNKS_A_SHARD", SHARD_ROWS // CHUNK_ROWS)

    def make(num_rows: int) -> RowReader:
        with GroupWriter(tmp_path / "group", [SPEC]) as writer:
            writer.append("values", np.random.default_rng(0).integers(-(2**40), 2**40, (num_rows, 3)))
        return RowReader(tmp_path / "group" / "values", SPEC, num_rows, CHUNK_ROWS, SHARD_ROWS)

    return make


@pytest.mark.parametrize("num_rows", [1, 3, 4, 12, 13, 29])
def test_all_ranges_of_rows_are_those_that_zarr_reads(num_rows: int, make_reader: MakeReader) -> None:
    reader = make_reader(num_rows)
    expected = zarr.open_array(reader.folder, mode="r")[...]
    for start in range(num_rows + 1):
        for stop in range(start, num_rows + 1):
            found = reader.read(start, stop)
            assert found.dtype == np.int64 and np.array_equal(found, expected[start:stop])


def test_rows_are_read_into_the_array_that_is_given(make_reader: MakeReader) -> None:
    reader, out = make_reader(29), np.full((30, 3), -1)
    assert reader.read(2, 27, out[3:28]) is not None
    assert np.array_equal(out[3:28], reader.read(0, 29)[2:27])
    assert (out[:3] == -1).all() and (out[28:] == -1).all()


def test_single_rows_come_in_the_order_in_which_they_are_wanted(make_reader: MakeReader) -> None:
    reader = make_reader(29)
    rows = np.array([28, 0, 13, 12, 12, 5])
    assert np.array_equal(reader.read_rows(rows), reader.read(0, 29)[rows])
    assert reader.read_rows(rows[:0]).shape == (0, 3)


def test_chunks_that_were_never_written_are_zeros(tmp_path: Path) -> None:
    array = zarr.create_array(
        tmp_path / "values",
        shape=(24, 3),
        dtype="int64",
        chunks=(CHUNK_ROWS, 3),
        shards=(SHARD_ROWS, 3),
        compressors=[ZstdCodec(), Crc32cCodec()],
    )
    array[4:8] = np.arange(12).reshape(4, 3)
    array[12:13] = 1
    reader = RowReader(tmp_path / "values", SPEC, 24, CHUNK_ROWS, SHARD_ROWS)
    assert np.array_equal(reader.read(0, 24), array[...]) and not reader.read(0, 4).any()


def shard(reader: RowReader, number: int) -> Path:
    return reader.folder / "c" / str(number) / "0"


def flip(file: Path, position: int) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)


def test_a_changed_byte_is_found_where_it_is_read_and_only_there(make_reader: MakeReader) -> None:
    reader = make_reader(29)
    flip(shard(reader, 1), 5)
    with pytest.raises(ValueError, match=r"values/c/1/0: chunk 0 is damaged \(its crc32c differs\): delete it and run"):
        reader.read(11, 13)
    with pytest.raises(ValueError, match=r"values/c/1/0: chunk 0 is damaged"):
        reader.read_rows(np.array([0, 15]))
    assert len(reader.read(0, 12)) == 12 and len(reader.read(16, 29)) == 13


def test_a_changed_index_is_found(make_reader: MakeReader) -> None:
    reader = make_reader(29)
    flip(shard(reader, 0), -20)
    with pytest.raises(ValueError, match=r"values/c/0/0: its index is damaged \(its crc32c differs\)"):
        reader.read(0, 1)


@pytest.mark.parametrize("size", [0, 3, 40])
def test_a_truncated_file_is_found(size: int, make_reader: MakeReader) -> None:
    reader = make_reader(29)
    file = shard(reader, 0)
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"values/c/0/0: its index is damaged"):
        reader.read(0, 1)


def test_a_missing_file_is_named(make_reader: MakeReader) -> None:
    reader = make_reader(29)
    shard(reader, 2).unlink()
    with pytest.raises(ValueError, match=r"values/c/2/0: missing, expected a part of the array 'values'"):
        reader.read(20, 29)
