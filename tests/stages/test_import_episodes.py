"""Recorded episodes as stores: what stands in them, and that an import which was killed goes on."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from imported_stores import SPLITS, imported
from PIL import Image

from lamflow.data.store import EpisodeStore
from lamflow.envs.recorded_settings import RecordedSettings


def write_recordings(
    folder: Path, *, episodes: int = 8, rows: int = 6, actions: Callable[[int], Any] | None = None
) -> Path:
    """Episodes whose frames tell which they are, and whose actions, where there are some, are made of their numbers."""
    folder.mkdir()
    for number in range(episodes):
        frames = np.full((rows, 32, 40, 3), number, np.uint8)
        frames[:, 0, 0, 0] = np.arange(rows)
        columns = {} if actions is None else {"actions": actions(number)}
        np.savez(folder / f"{number}.npz", frames=frames, rewards=np.full(rows, 0.5), **columns)
    return folder


def settings_of(folder: Path, **more: Any) -> RecordedSettings:
    return RecordedSettings.model_validate({"episodes": {"kind": "npz", "path": str(folder)}, **more})


def run(settings: RecordedSettings, output: Path) -> dict[str, EpisodeStore]:
    return imported(settings, output, "mine")


def table_of(output: Path) -> list[dict[str, str]]:
    with (output / "episodes.csv").open(newline="") as opened:
        return list(csv.DictReader(opened))


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def test_each_episode_is_in_one_split_with_its_rows(tmp_path: Path) -> None:
    folder = write_recordings(tmp_path / "npz", actions=lambda number: (np.arange(6) + number) % 5)
    stores = run(settings_of(folder, actions=7), tmp_path / "out")
    seeds: list[int] = []
    for store in stores.values():
        arrays = store.load()
        for start, place in zip(arrays.episode_starts, arrays.level_seeds, strict=True):
            rows = slice(start, start + 6)
            assert (arrays.frames[rows, 1:] == place).all()
            assert arrays.frames[rows, 0, 0, 0].tolist() == list(range(6))
            assert arrays.actions[rows].tolist() == ((np.arange(6) + place) % 5).tolist()
            assert arrays.truncated[rows].tolist() == [False] * 5 + [True] and not arrays.terminated[rows].any()
        seeds += arrays.level_seeds.tolist()
        assert store.spec.num_actions == 7 and store.recorded == "all"
    assert sorted(seeds) == list(range(8))
    rows = table_of(tmp_path / "out")
    assert [row["split"] for row in rows] == ["train"] * 6 + ["validation", "test"]
    assert {(row["name"], row["place"], row["rows"], row["labelled_rows"]) for row in rows} == {
        (str(place), str(place), "6", "6") for place in range(8)
    }
    assert not (tmp_path / "out" / "state").exists()


def test_actions_of_some_rows(tmp_path: Path) -> None:
    def some(number: int) -> Any:
        return np.where(np.arange(5) < number, 2, -1)  # one fewer than there are observations

    folder = write_recordings(tmp_path / "npz", actions=some)
    for number in range(8):  # with their final observations
        stored = dict(np.load(folder / f"{number}.npz"))
        np.savez(folder / f"{number}.npz", **{**stored, "rewards": stored["rewards"][:-1]})
    stores = run(settings_of(folder), tmp_path / "out")
    for row in table_of(tmp_path / "out"):
        assert int(row["labelled_rows"]) == min(5, int(row["place"]))
    arrays = stores["train"].load()
    assert stores["train"].recorded == "some" and arrays.labelled is not None and stores["train"].final_observations
    assert (arrays.actions[arrays.labelled] == 2).all() and (arrays.actions[~arrays.labelled] == -1).all()


def test_recordings_without_actions(tmp_path: Path) -> None:
    stores = run(settings_of(write_recordings(tmp_path / "npz")), tmp_path / "out")
    assert {store.recorded for store in stores.values()} == {"none"}
    assert {row["labelled_rows"] for row in table_of(tmp_path / "out")} == {"0"}


@pytest.mark.slow
def test_an_import_that_failed_goes_on_behind_what_it_has_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lamflow.data.kept_parts.PART_BYTES", 1)  # each episode is a part of its own
    folder = write_recordings(tmp_path / "npz", actions=lambda number: np.arange(6))
    settings = settings_of(folder)
    run(settings, tmp_path / "undisturbed")
    stored, facts = (folder / "5.npz").read_bytes(), settings.build(name="mine").facts()
    spoilt = dict(np.load(folder / "5.npz"))
    np.savez(folder / "5.npz", **{**spoilt, "rewards": np.full(6, np.nan)})
    with pytest.raises(ValueError, match=r"npz: episode '5', row 0: found nan in the reward, expected finite numbers"):
        run(settings, tmp_path / "out")
    assert not any((tmp_path / "out" / f"{split}.zarr").exists() for split in SPLITS)
    (folder / "5.npz").write_bytes(stored)
    (folder / "0.npz").write_bytes((folder / "1.npz").read_bytes())  # is not read again
    capsys.readouterr()
    assert settings.build(name="mine").facts() == facts
    run(settings, tmp_path / "out")
    assert "mine: goes on behind the 5 of 8 episodes that an earlier attempt has read" in capsys.readouterr().out
    for split in SPLITS:
        assert files_of(tmp_path / "out" / f"{split}.zarr") == files_of(tmp_path / "undisturbed" / f"{split}.zarr")


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import lamflow.data.kept_parts as kept_parts
kept_parts.PART_BYTES = 1
from stages.test_import_episodes import run, settings_of
from lamflow.episodes.npz import NpzSource

pieces = NpzSource._pieces

def slow(self, recording, described):
    import time
    time.sleep(0.05)
    yield from pieces(self, recording, described)

NpzSource._pieces = slow
run(settings_of(Path({folder!r})), Path({output!r}))
"""


@pytest.mark.slow
def test_a_killed_import_gives_the_same_bytes(tmp_path: Path) -> None:
    folder, output = write_recordings(tmp_path / "npz", actions=lambda number: np.arange(6)), tmp_path / "out"
    run(settings_of(folder), tmp_path / "undisturbed")
    code = KILLED.format(tests=str(Path(__file__).parents[1]), folder=str(folder), output=str(output))
    killed = 0
    for kept in (2, 5):
        process = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": ":".join(sys.path)})
        while process.poll() is None and len(list(output.glob("state/*/0*.zarr"))) < kept:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
    assert killed == 2
    run(settings_of(folder), output)
    for split in SPLITS:
        assert files_of(output / f"{split}.zarr") == files_of(tmp_path / "undisturbed" / f"{split}.zarr")
    assert (output / "episodes.csv").read_bytes() == (tmp_path / "undisturbed" / "episodes.csv").read_bytes()


def test_other_settings_begin_anew(tmp_path: Path) -> None:
    folder = write_recordings(tmp_path / "npz")
    stale = tmp_path / "out" / "state" / "0123456789abcdef" / "000000000.zarr"
    stale.mkdir(parents=True)
    run(settings_of(folder), tmp_path / "out")


@pytest.mark.slow
def test_lossy_recordings_say_by_how_much_equal_frames_differ(tmp_path: Path) -> None:
    """A square that rests and moves before a still background, through JPEG: each picture of it anew, as of a camera, with noise."""
    generator = np.random.default_rng(0)
    for number in range(4):
        folder = tmp_path / "pictures" / str(number)
        folder.mkdir(parents=True)
        for row in range(40):
            picture = np.full((48, 48, 3), 60, np.uint8)
            picture[10:20, 4 + row // 4 * 3 : 10 + row // 4 * 3] = 220
            picture += generator.integers(0, 3, picture.shape, np.uint8)
            Image.fromarray(picture).save(folder / f"{row}.jpg", quality=95)
    settings = RecordedSettings.model_validate({"episodes": {"kind": "images", "path": str(tmp_path / "pictures")}})
    store = run(settings, tmp_path / "out")["train"]
    frames = store.load().frames.astype(np.int64)
    still = [abs(frames[row + 1] - frames[row]).max() for row in range(79) if row % 4 != 3]
    assert store.attributes["lossy"] is True and 0 < store.frame_tolerance < 32
    assert np.mean(np.array(still) <= store.frame_tolerance) > 0.98


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"state": np.array([[0.0], [np.nan]])},
            "episode '1', row 1: found nan in the part 'state' of an observation, entry 0",
        ),
        ({"rewards": [0, np.inf]}, "episode '1', row 1: found inf in the reward, expected finite numbers"),
    ],
)
def test_numbers_that_are_none_are_named(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    for number in range(3):
        state, given = np.zeros((2, 1)), columns if number == 1 else {}
        np.savez(tmp_path / f"{number}.npz", **{"obs": state, "state": state, "rewards": [0, 0], **given})
    settings = RecordedSettings.model_validate(
        {"episodes": {"kind": "npz", "path": str(tmp_path), "observations": {"state": "state"}}}
    )
    with pytest.raises(ValueError, match=message) as caught:
        run(settings, tmp_path / "out")
    assert str(tmp_path) in str(caught.value)
