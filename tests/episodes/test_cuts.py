"""Long recordings are cut into episodes by a table."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from lamflow.episodes.cuts import Unit, between, cuts_of_table
from lamflow.episodes.video_files import Recording
from lamflow.episodes.video_settings import CutSettings

FIRST, SECOND = Recording(Path("data/day/a.mp4"), "day/a"), Recording(Path("data/b.webm"), "b")


def table(folder: Path, *rows: str, header: str = "file,start,end") -> Path:
    path = folder / "cuts.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_episodes_come_by_recording_and_start_with_a_number_for_a_name(tmp_path: Path) -> None:
    path = table(tmp_path, "b.webm,50,", "day/a,10,20", "b,0,50", "day/a.mp4,0,10")
    cuts = cuts_of_table(path, "frames", [FIRST, SECOND])
    assert [(cut.name, cut.group, cut.start, cut.end) for cut in cuts] == [
        ("day/a-0000", "day/a", 0, 10),
        ("day/a-0001", "day/a", 10, 20),
        ("b-0000", "b", 0, 50),
        ("b-0001", "b", 50, None),
    ]
    assert [cut.num_frames(60) for cut in cuts] == [10, 10, 50, 10]
    assert cuts[-1].num_frames(None) is None


def test_names_and_groups_of_the_table(tmp_path: Path) -> None:
    path = table(tmp_path, "b,0.5,2,jump,monday", "b,2,3.25,,", header="file,start,end,name,group")
    first, second = cuts_of_table(path, "seconds", [SECOND])
    assert (first.name, first.group, first.start, first.end, first.unit) == ("jump", "monday", 0.5, 2, "seconds")
    assert (second.name, second.group, second.end) == ("b-0001", "b", 3.25)
    assert first.num_frames(100) is None


@pytest.mark.slow
def test_a_table_may_be_parquet(tmp_path: Path) -> None:
    pq.write_table(pa.table({"file": ["b"], "start": [3], "end": [9]}), tmp_path / "cuts.parquet")
    (cut,) = cuts_of_table(tmp_path / "cuts.parquet", "frames", [SECOND])
    assert (cut.start, cut.end) == (3, 9)


@pytest.mark.parametrize(
    ("rows", "unit", "message"),
    [
        (["b,0,5", "c.mp4,0,9"], "frames", "row 2: found the file 'c.mp4', expected one of the recordings, such as day/a.mp4, b.webm"),
        (["b,50,20"], "frames", "row 1: found start 50 and end 20, expected an end behind the start"),
        (["b,5,5"], "frames", "row 1: found start 5 and end 5, expected an end behind the start"),
        (["b,40,60", "day/a,0,9", "b,0,41"], "frames", "row 1: found an episode of data/b.webm from 40 on, and in row 3 one from 0 to 41"),
        (["b,0,", "b,9,10"], "frames", "row 2: found an episode of data/b.webm from 9 on, and in row 1 one from 0 to the end of the file"),
        (["b,0.5,2"], "frames", "row 1: found start 0.5 and end 2, expected whole numbers of frames from 0, and no end where"),
        (["b,-1,2"], "frames", "row 1: found start -1 and end 2, expected whole numbers of frames from 0"),
        (["b,,2"], "seconds", "row 1: found start nothing and end 2, expected numbers of seconds from 0"),
        (["b,true,"], "frames", "row 1: found start True and end nothing, expected whole numbers of frames"),
        (["b,00:00:01,"], "seconds", "row 1: found start '00:00:01' and end nothing, expected numbers of seconds"),
        (["b,one,2"], "seconds", "row 1: found start 'one' and end 2, expected numbers of seconds"),
        ([], "frames", "found no row, expected one per episode"),
    ],
)  # fmt: skip
def test_bad_rows_are_named(tmp_path: Path, rows: list[str], unit: Unit, message: str) -> None:
    path = table(tmp_path, *rows)
    with pytest.raises(ValueError, match=re.escape(f"{path}: {message}")):
        cuts_of_table(path, unit, [FIRST, SECOND])


def test_bad_tables_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError,
        match=r"cuts\.csv: found the columns file, begin, end; expected file, start, end, and if wanted name and",
    ):
        cuts_of_table(table(tmp_path, "b,0,5", header="file,begin,end"), "frames", [SECOND])
    with pytest.raises(ValueError, match=r"cuts\.csv: could not be read as a csv table: .*: write it again"):
        cuts_of_table(table(tmp_path, "b,0,5,6"), "frames", [SECOND])
    with pytest.raises(ValueError, match=r"no\.csv: found no such file, expected a table of cuts: \.csv or \.parquet"):
        cuts_of_table(tmp_path / "no.csv", "frames", [SECOND])
    (tmp_path / "cuts.txt").touch()
    with pytest.raises(ValueError, match=r"cuts\.txt: found a file that ends in '\.txt', expected a table of cuts"):
        cuts_of_table(tmp_path / "cuts.txt", "frames", [SECOND])


def test_parts_between_leaps_cover_the_recording() -> None:
    parts = between(SECOND, [4, 9], 12)
    assert [(part.name, part.group, part.start, part.end) for part in parts] == [
        ("b-0000", "b", 0, 4),
        ("b-0001", "b", 4, 9),
        ("b-0002", "b", 9, 12),
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "found neither, expected one of table and leaps"),
        ({"table": "a.csv", "leaps": 20}, "found both, expected one of table and leaps"),
        ({"leaps": 20, "unit": "seconds"}, "unit: found beside leaps, expected beside table alone: leave it out"),
    ],
)
def test_settings_say_one_way_of_cutting(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        CutSettings.model_validate(given)
