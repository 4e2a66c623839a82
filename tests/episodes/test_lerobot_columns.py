"""New columns in a copy of a LeRobot data set: pyarrow reads them, and all else is as it was."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lerobot_files import LENGTHS, TOP, recordings, write_parquet, write_v2, write_v3
from numpy.typing import NDArray

from lamflow.episodes.fit import FrameFit
from lamflow.episodes.lerobot_columns import RowsOfFile, add_columns
from lamflow.episodes.lerobot_settings import LeRobotSettings

EPISODES = recordings()
DATA = "data/chunk-000/file-000.parquet"


def latents_of(rows: RowsOfFile) -> NDArray[np.float32]:
    """float32 [n, 2], another one for each row: its episode and its frame."""
    return np.stack([rows.episodes, rows.frames], axis=1).astype(np.float32)


def in_pieces(rows: RowsOfFile) -> Iterator[dict[str, NDArray[Any]]]:
    """Columns in pieces of five rows, whatever the episodes."""
    for begin in range(0, len(rows.frames), 5):
        part = slice(begin, begin + 5)
        codes = np.stack([rows.frames[part], rows.frames[part] + 1], axis=1)
        yield {"latent": latents_of(rows)[part], "latent.codes": codes, "decoded_action": rows.frames[part]}


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    return write_v3(tmp_path / "set", EPISODES, "libx264rgb")


def test_new_columns_stand_beside_the_old_ones(recorded: Path, tmp_path: Path) -> None:
    add_columns(recorded, tmp_path / "out", in_pieces, names={"latent": ["first", "second"]})
    before, after = (pq.read_table(root / DATA) for root in (recorded, tmp_path / "out"))
    assert after.select(before.column_names).equals(before)
    assert after.column_names[len(before.column_names) :] == ["latent", "latent.codes", "decoded_action"]
    frames = before["frame_index"].to_pylist()
    episodes = before["episode_index"].to_pylist()
    assert after["latent"].to_pylist() == [[float(e), float(f)] for e, f in zip(episodes, frames, strict=True)]
    assert after["latent"].type == pa.list_(pa.float32(), 2)
    assert after["latent.codes"].to_pylist() == [[frame, frame + 1] for frame in frames]
    assert after["decoded_action"].to_pylist() == frames and after["decoded_action"].type == pa.int64()


def test_the_data_set_says_what_the_new_columns_are(recorded: Path, tmp_path: Path) -> None:
    add_columns(recorded, tmp_path / "out", in_pieces, names={"latent": ["first", "second"]})
    before, after = (json.loads((root / "meta/info.json").read_text()) for root in (recorded, tmp_path / "out"))
    new = {
        "latent": {"dtype": "float32", "shape": [2], "names": ["first", "second"]},
        "latent.codes": {"dtype": "int64", "shape": [2], "names": None},
        "decoded_action": {"dtype": "int64", "shape": [1], "names": None},
    }
    assert after == before | {"features": before["features"] | new}
    stats = json.loads((tmp_path / "out/meta/stats.json").read_text())
    frames = np.concatenate([np.arange(rows) for rows in LENGTHS])
    assert stats["decoded_action"]["min"] == [0] and stats["decoded_action"]["max"] == [11]
    assert stats["decoded_action"]["mean"] == pytest.approx([frames.mean()])
    assert stats["decoded_action"]["std"] == pytest.approx([frames.std()])
    assert stats["decoded_action"]["count"] == [sum(LENGTHS)] and "action" in stats


def test_the_copy_has_the_same_episodes_and_the_same_videos(recorded: Path, tmp_path: Path) -> None:
    add_columns(recorded, tmp_path / "out", in_pieces)
    video = f"videos/{TOP}/chunk-000/file-000.mp4"
    assert (tmp_path / "out" / video).samefile(recorded / video)
    source = LeRobotSettings(path=str(tmp_path / "out"), parts={"latent": "latent"}).build(fit=FrameFit())
    for episode, expected in zip(source.episodes(), EPISODES, strict=True):
        pieces = list(episode.pieces)
        assert (np.concatenate([piece.observations["frames"] for piece in pieces]) == expected.cameras[TOP]).all()
        latents = np.concatenate([piece.observations["latent"] for piece in pieces])
        assert latents[:, 1].tolist() == list(range(len(expected.actions)))
    assert not [path for path in tmp_path.iterdir() if path.name not in ("set", "out")]


def test_files_are_written_one_after_the_other_and_keep_their_row_groups(tmp_path: Path) -> None:
    root = write_v2(tmp_path / "set", EPISODES, "libx264rgb")
    path = root / "data/chunk-000/episode_000001.parquet"
    table = pq.read_table(path)
    pq.write_table(table, path, row_group_size=5, compression="zstd")
    seen: list[tuple[str, list[int], int]] = []

    def columns(rows: RowsOfFile) -> Iterator[dict[str, NDArray[Any]]]:
        seen.append((rows.path.name, np.unique(rows.episodes).tolist(), len(rows.frames)))
        yield {"latent": latents_of(rows)}

    add_columns(root, tmp_path / "out", columns)
    assert seen == [(f"episode_{index:06d}.parquet", [index], rows) for index, rows in enumerate(LENGTHS)]
    written = pq.ParquetFile(tmp_path / "out/data/chunk-000/episode_000001.parquet").metadata
    assert [written.row_group(group).num_rows for group in range(written.num_row_groups)] == [5, 5, 2]
    assert written.row_group(0).column(0).compression == "ZSTD"


def test_what_hugging_face_notes_in_a_file_lists_the_new_columns(recorded: Path, tmp_path: Path) -> None:
    table = pq.read_table(recorded / DATA)
    noted = {"info": {"features": {"index": {"dtype": "int64", "_type": "Value"}}}}
    write_parquet(recorded / DATA, table.replace_schema_metadata({"huggingface": json.dumps(noted), "other": "kept"}))
    add_columns(recorded, tmp_path / "out", in_pieces)
    metadata = pq.read_schema(tmp_path / "out" / DATA).metadata
    features = json.loads(metadata[b"huggingface"])["info"]["features"]
    assert list(features) == ["index", "latent", "latent.codes", "decoded_action"]
    assert features["latent"] == {"feature": {"dtype": "float32", "_type": "Value"}, "length": 2, "_type": "Sequence"}
    assert features["decoded_action"] == {"dtype": "int64", "_type": "Value"} and metadata[b"other"] == b"kept"


def too_few(rows: RowsOfFile) -> Iterator[dict[str, NDArray[Any]]]:
    yield {"latent": latents_of(rows)[:-1]}


def too_many(rows: RowsOfFile) -> Iterator[dict[str, NDArray[Any]]]:
    yield {"latent": latents_of(rows)}
    yield {"latent": latents_of(rows)[:1]}


def taken_name(rows: RowsOfFile) -> Iterator[dict[str, NDArray[Any]]]:
    yield {"action": latents_of(rows)}


def other_columns(rows: RowsOfFile) -> Iterator[dict[str, NDArray[Any]]]:
    yield {"latent": latents_of(rows)[:5]}
    yield {"codes": latents_of(rows)[5:]}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (too_few, "found 23 new values for the next 24 rows, expected one per row"),
        (too_many, "found more new values than rows, expected 24 per column"),
        (taken_name, "found a column 'action' already, expected a new name"),
        (other_columns, "found pieces of different columns, expected latent in each"),
    ],
)
def test_columns_that_do_not_fit_leave_nothing_behind(
    recorded: Path, tmp_path: Path, columns: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        add_columns(recorded, tmp_path / "out", columns)
    assert str(recorded / DATA) in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_another_width_in_a_later_file_is_refused(tmp_path: Path) -> None:
    root = write_v2(tmp_path / "set", EPISODES, "libx264rgb")
    with pytest.raises(
        ValueError, match=r"episode_000001.*'latent': found float32 \[3\], expected float32 \[2\] as in the rows before"
    ):
        add_columns(
            root,
            tmp_path / "out",
            lambda rows: [{"latent": np.zeros((len(rows.frames), 2 + int(rows.episodes[0])), np.float32)}],
        )


def test_a_folder_that_exists_is_not_written_over(recorded: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="found that it exists, expected a new folder"):
        add_columns(recorded, tmp_path, in_pieces)


def test_the_example_of_the_documentation_runs(recorded: Path, tmp_path: Path) -> None:
    page = Path(__file__).parents[2].joinpath("docs", "your-data.md").read_text()
    code = next(block for block in re.findall(r"```python\n(.*?)```", page, re.S) if "lerobot_columns" in block)
    exec(compile(code, "your-data.md", "exec"), {"path": recorded, "out": tmp_path / "out"})
    table = pq.read_table(tmp_path / "out" / DATA)
    assert table["latent"].type == pa.list_(pa.float32(), 8) and table["latent_code"].type == pa.int64()
