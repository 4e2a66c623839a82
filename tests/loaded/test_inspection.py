"""What is told of recordings, and how a kind of them is chosen."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from lamflow.components import kind_of
from lamflow.loaded.inspection import inspect, recognised, told


def write(folder: Path, *lengths: int) -> None:
    folder.mkdir(exist_ok=True)
    for number, length in enumerate(lengths):
        np.save(folder / f"{number}.npy", np.zeros((length, 40, 40, 3), np.uint8))


def test_what_else_lies_there_is_told_and_can_be_chosen(tmp_path: Path) -> None:
    write(tmp_path, 4, 4, 4)
    Image.new("RGB", (40, 40)).save(tmp_path / "0.png")
    found = inspect(tmp_path)
    assert "recordings of the kind npz lie there, too: --set kind=npz looks at them" in told(tmp_path, found)
    assert kind_of(type(inspect(tmp_path, ["kind=npz"]).settings)) == "npz"


def test_a_kind_that_does_not_know_a_path_says_what_it_misses(tmp_path: Path) -> None:
    tmp_path.joinpath("notes.txt").touch()
    with pytest.raises(ValueError, match=r"found 1 of .txt, and nothing that a source .* `--set kind=hdf5`"):
        recognised(tmp_path)
    problem = inspect(tmp_path, ["kind=lerobot"]).problem
    assert "info.json: found no such file, expected a LeRobot data set" in problem
    with pytest.raises(ValueError, match="--set kind=vidoe: expected one of hdf5, images"):
        recognised(tmp_path, ["kind=vidoe"])


def test_a_damaged_file_is_told_as_such(tmp_path: Path) -> None:
    path = tmp_path / "demo.hdf5"
    path.write_bytes(b"no HDF5")
    assert "found a file of 7 bytes that is no HDF5" in inspect(path).problem


@pytest.mark.parametrize("change", ["keys={frames: x", "keys"])
def test_a_setting_that_is_none_is_a_line(tmp_path: Path, change: str) -> None:
    with pytest.raises(ValueError, match=f"--set {change}: ") as caught:
        recognised(tmp_path, [change])
    assert "\n" not in str(caught.value)


def test_too_few_episodes_and_single_frames_are_noted(tmp_path: Path) -> None:
    write(tmp_path, 4, 1)
    said = told(tmp_path, inspect(tmp_path))
    assert "an experiment needs 3 episodes at least, one for each of train, validation, test" in said
    assert "1 of 2 episodes have a single frame, from which no action leads on, such as '1'" in said


def test_names_in_other_alphabets_stay_readable(tmp_path: Path) -> None:
    write(tmp_path / "Küche 1", 4)
    said = told(tmp_path / "Küche 1", inspect(tmp_path / "Küche 1"))
    assert "Küche 1\n" in said.partition("configuration")[2]
    assert list(yaml.safe_load(said.partition("configuration:\n")[2])["environments"]) == ["K_che_1"]


def test_a_long_path_stays_on_its_line(tmp_path: Path) -> None:
    folder = tmp_path / " ".join(["monday"] * 30)
    write(folder, 4)
    assert f"path: {folder}\n" in told(folder, inspect(folder))
