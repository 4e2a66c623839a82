"""Which source a path is read by."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lamflow.episodes.files import files_digest, natural_order
from lamflow.episodes.images_settings import ImagesSettings
from lamflow.episodes.npz_settings import NpzSettings
from lamflow.episodes.recognition import recognise
from lamflow.episodes.settings import source_settings
from lamflow.episodes.zarr_settings import ZarrSettings


def test_layouts_are_told_apart(tmp_path: Path) -> None:
    assert recognise(tmp_path) == []
    np.save(tmp_path / "a.npy", np.zeros(3))
    assert recognise(tmp_path) == [NpzSettings(path=str(tmp_path))]
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    assert recognise(tmp_path) == [ImagesSettings(path=str(tmp_path)), NpzSettings(path=str(tmp_path))]
    (tmp_path / "train.zarr").mkdir()
    (tmp_path / "train.zarr" / "zarr.json").write_text("{}")
    assert recognise(tmp_path)[0] == ZarrSettings(path=str(tmp_path))
    with pytest.raises(FileNotFoundError, match="nowhere: found nothing, expected a file or folder"):
        recognise(tmp_path / "nowhere")


def test_settings_survive_as_json() -> None:
    settings = NpzSettings(path="data", observations={"frames": "rgb"}, actions="act")
    assert source_settings(settings.model_dump(mode="json")) == settings


def test_names_stand_in_the_order_in_which_people_count() -> None:
    names = ["frame10", "frame9", "a2b", "a10b", "frame", "2", "10"]
    assert sorted(names, key=natural_order) == ["2", "10", "a2b", "a10b", "frame", "frame9", "frame10"]


def test_files_are_told_by_name_size_and_time(tmp_path: Path) -> None:
    seen = [files_digest([tmp_path])]
    (tmp_path / "a").write_text("1")
    seen.append(files_digest([tmp_path]))
    (tmp_path / "a").write_text("12")
    seen.append(files_digest([tmp_path]))
    (tmp_path / "a").rename(tmp_path / "b")
    seen.append(files_digest([tmp_path]))
    assert len(set(seen)) == 4 and seen[-1] == files_digest([str(tmp_path)])
