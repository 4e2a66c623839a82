"""Which files recordings are made of."""

from pathlib import Path

from lamflow.episodes.files import files_below, files_digest


def test_links_to_folders_elsewhere_are_followed_once(tmp_path: Path) -> None:
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    for folder in (data / "a", elsewhere / "deep"):
        folder.mkdir(parents=True)
        folder.joinpath("clip.npy").touch()
    data.joinpath("disk").symlink_to(elsewhere)
    data.joinpath("disk again").symlink_to(elsewhere)
    data.joinpath("latest").symlink_to(data / "a")
    elsewhere.joinpath("back").symlink_to(data)
    found = [path.relative_to(data).as_posix() for path in files_below(data)]
    assert found == ["a/clip.npy", "disk/deep/clip.npy"]


def test_hidden_files_are_no_recordings_and_no_change_of_them(tmp_path: Path) -> None:
    tmp_path.joinpath("clip.npy").touch()
    before = files_digest([tmp_path])
    tmp_path.joinpath(".DS_Store").touch()
    tmp_path.joinpath(".cache").mkdir()
    tmp_path.joinpath(".cache", "clip.npy").touch()
    assert [path.name for path in files_below(tmp_path)] == ["clip.npy"] and files_digest([tmp_path]) == before


def test_a_changed_file_behind_a_link_is_noticed(tmp_path: Path) -> None:
    tmp_path.joinpath("data").mkdir()
    tmp_path.joinpath("disk").mkdir()
    tmp_path.joinpath("data", "disk").symlink_to(tmp_path / "disk")
    before = files_digest([tmp_path / "data"])
    tmp_path.joinpath("disk", "clip.npy").touch()
    assert files_digest([tmp_path / "data"]) != before


def test_a_link_to_nothing_is_found_so_that_its_reader_says_so(tmp_path: Path) -> None:
    tmp_path.joinpath("clip.npy").symlink_to("nowhere")
    assert [path.name for path in files_below(tmp_path)] == ["clip.npy"]
