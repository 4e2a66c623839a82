"""Which video files a folder has, and what they are called."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lamflow.episodes.video_files import has_recordings, recordings_at
from lamflow.episodes.video_settings import VideoSettings


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        folder.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        folder.joinpath(name).touch()
    return folder


def test_names_are_those_of_files_without_the_ending_in_natural_order(tmp_path: Path) -> None:
    touch(tmp_path, "clip10.mp4", "clip2.webm", "clip1.MKV", "day 2/a.b.gif", "day 10/x.avi", "notes.txt", "labels.csv")
    touch(tmp_path, "._clip1.mp4", ".cache/old.mp4")
    found = recordings_at(tmp_path)
    assert [recording.name for recording in found] == ["clip1", "clip2", "clip10", "day 2/a.b", "day 10/x"]
    assert [recording.group for recording in found] == ["", "", "", "day 2", "day 10"]
    assert found[0].path == tmp_path / "clip1.MKV"


def test_one_file_is_a_recording(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "b.mp4")
    assert [recording.name for recording in recordings_at(tmp_path / "a.mp4")] == ["a"]


@pytest.mark.parametrize(
    ("files", "path", "message"),
    [
        ((), "", "found an empty folder, expected at least one video file (.mp4, .webm, .avi, .gif, .mkv, .mov, .m4v)"),
        (("a.txt", "b.txt", "c.npz"), "", "found 2 of .txt, 1 of .npz, expected at least one video file"),
        ((), "/no", "/no: found nothing there, expected a video file or a folder of them"),
        (("a.npz",), "/a.npz", "/a.npz: found a file that ends in '.npz', expected one of .mp4,"),
        (("x/a.mp4", "x/a.webm"), "", "found two recordings of the name 'x/a', expected a name once"),
    ],
    ids=["empty", "no video", "nothing", "other file", "same name"],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, files: tuple[str, ...], path: str, message: str) -> None:
    touch(tmp_path, *files)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        recordings_at(Path(f"{tmp_path}{path}"))
    assert str(tmp_path) in str(caught.value)


def test_a_folder_of_videos_or_a_video_is_recognised(tmp_path: Path) -> None:
    touch(tmp_path, "day/a.mp4", "other/b.npz", "robot/meta/info.json", "robot/videos/c.mp4")
    assert VideoSettings.recognised(tmp_path / "day") == VideoSettings(path=str(tmp_path / "day"))
    assert VideoSettings.recognised(tmp_path / "day" / "a.mp4") is not None
    for path in ("other", "other/b.npz", "robot", "nowhere"):
        assert not has_recordings(tmp_path / path)
        assert VideoSettings.recognised(tmp_path / path) is None
