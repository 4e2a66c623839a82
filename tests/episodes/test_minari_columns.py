"""Columns that are added to a data set of Minari, which Minari reads back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import minari
import numpy as np
import pytest
from minari_data import LENGTHS, PICTURE, Box, buffers, numbers, pictures, write

from lamflow.episodes.fit import FrameFit
from lamflow.episodes.minari import MinariSource
from lamflow.episodes.minari_columns import add_columns
from lamflow.episodes.minari_settings import MinariSettings

FORMATS = ("hdf5", "arrow", "parquet")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    return tmp_path


def written(root: Path, data_format: str, *, infos: bool = False) -> Path:
    episodes = buffers(pictures, lambda episode, rows: numbers(episode, rows, 2))
    if infos:
        episodes = [
            type(episode)(**{**vars(episode), "infos": {"speed": numbers(index, LENGTHS[index] + 1, 3)}})
            for index, episode in enumerate(episodes)
        ]
    return write(root, episodes, PICTURE, Box(-1, 1, (2,), np.float32), data_format=data_format)


def columns(index: int) -> dict[str, Any]:
    rows = LENGTHS[index]
    return {
        "lamflow_latents": numbers(index + 7, rows, 5),
        "lamflow_codes": np.arange(2 * rows, dtype=np.int64).reshape(rows, 2),
        "lamflow_action": np.arange(rows) % 4,
        "lamflow_confidence": np.linspace(0, 1, rows, dtype=np.float32),
    }


def every() -> list[tuple[str, dict[str, Any]]]:
    return [(f"episode_{index}", columns(index)) for index in range(len(LENGTHS))]


@pytest.mark.parametrize("infos", [False, True])
@pytest.mark.parametrize("data_format", FORMATS)
def test_minari_reads_the_columns_and_everything_else_as_before(root: Path, data_format: str, infos: bool) -> None:
    path = written(root, data_format, infos=infos)
    add_columns(path, root / "test" / "labelled-v0", iter(every()), dataset_id="test/labelled-v0")
    before, after = minari.load_dataset("test/toy-v0"), minari.load_dataset("test/labelled-v0")
    assert after.total_episodes == len(LENGTHS) and after.total_steps == sum(LENGTHS)
    for index, (old, new) in enumerate(zip(before.iterate_episodes(), after.iterate_episodes(), strict=True)):
        for key in ("observations", "actions", "rewards", "terminations", "truncations"):
            np.testing.assert_array_equal(getattr(new, key), getattr(old, key))
        for name, values in columns(index).items():
            info = new.infos[name]
            assert info.dtype == values.dtype and info.shape == (LENGTHS[index] + 1, *values.shape[1:])
            np.testing.assert_array_equal(info[:-1], values)
            assert np.isnan(info[-1]).all() if values.dtype.kind == "f" else (info[-1] == -1).all()
        assert list(new.infos) == [*(["speed"] if infos else []), *columns(index)] or set(new.infos) >= set(
            columns(index)
        )
        if infos:
            np.testing.assert_array_equal(new.infos["speed"], old.infos["speed"])
    (first, *_) = MinariSource(settings=MinariSettings(id="test/labelled-v0"), fit=FrameFit()).episodes()
    assert first.entry.rows == LENGTHS[0] + 1


def test_paths_may_be_relative(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(root, "hdf5")
    monkeypatch.chdir(path.parent)
    add_columns(path.name, "labelled-v0", iter(every()), dataset_id="test/labelled-v0")
    assert "lamflow_codes" in minari.load_dataset("test/labelled-v0")[0].infos


def test_flags_and_unsigned_numbers_are_columns_too(root: Path) -> None:
    path = written(root, "arrow")
    added = {
        f"episode_{index}": {"sure": np.ones(rows, bool), "code": np.ones(rows, np.uint8)}
        for index, rows in enumerate(LENGTHS)
    }
    add_columns(path, root / "out", added.items())
    episode = next(iter(minari.MinariDataset(root / "out" / "data").iterate_episodes()))
    assert episode.infos["sure"].tolist() == [True, True, True, False]
    assert episode.infos["code"].tolist() == [1, 1, 1, -1]


def test_the_original_stays_as_it_was_and_the_copy_keeps_its_name_unless_another_is_given(root: Path) -> None:
    path = written(root, "hdf5")
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    add_columns(path, root / "out", every())
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
    assert json.loads((root / "out" / "data" / "metadata.json").read_text())["dataset_id"] == "test/toy-v0"


@pytest.mark.parametrize("data_format", ["hdf5", "arrow"])
@pytest.mark.parametrize(
    ("added", "message"),
    [
        (every()[:2], r"data: found no columns of episode_2, expected those of every episode"),
        ([*every(), every()[0]], r"episode_0: found columns of it, expected each of 0 further episodes once"),
        ([("episode_9", columns(0))], r"episode_9: found columns of it"),
        ([("episode_0", {"x": np.zeros(4)})], r"episode_0: column x: found float64 \[4\], expected numbers with 3 rows, one per action"),
        ([("episode_0", {"x": np.array(["a"] * 3)})], r"episode_0: column x: found <U1 \[3\], expected numbers"),
        ([("episode_0", {"a/b": np.zeros(3)})], r"episode_0: found a column named 'a/b', expected letters"),
        ([("episode_0", {"speed": np.zeros(3)})], r"episode_0: found an info named 'speed' already"),
        ([every()[0], ("episode_1", {"x": np.zeros(5)})], r"episode_1: found the columns x, expected lamflow_action, lamflow_codes"),
    ],
)  # fmt: skip
def test_columns_that_do_not_fit_are_named_and_leave_nothing(
    root: Path, data_format: str, added: Any, message: str
) -> None:
    path = written(root, data_format, infos=True)
    with pytest.raises(ValueError, match=message):
        add_columns(path, root / "out", added)
    assert [file.name for file in root.iterdir() if "out" in file.name] == []


def test_folders_that_do_not_fit_are_named(root: Path) -> None:
    path = written(root, "hdf5")
    with pytest.raises(ValueError, match=r"toy-v0: is there already: delete it, or give another folder"):
        add_columns(path, path, every())
    with pytest.raises(ValueError, match=r"x: found no data set of Minari"):
        add_columns(root / "x", root / "out", every())
