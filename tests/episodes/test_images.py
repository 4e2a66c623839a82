"""Folders of pictures, which Pillow wrote."""

from pathlib import Path

import pytest
from PIL import ExifTags, Image

from lamflow.episodes.fit import FrameFit
from lamflow.episodes.images import ImagesSource
from lamflow.episodes.images_settings import ImagesSettings
from lamflow.spaces import Discrete, Pixels


def write(folder: Path, numbers: range, ending: str = "png", size: tuple[int, int] = (40, 32)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        Image.new("RGB", size, (number * 10, 0, 255)).save(folder / f"frame{number}.{ending}")


def source_of(
    folder: Path, fit: FrameFit | None = None, *, every: int = 1, actions: Path | None = None
) -> ImagesSource:
    settings = ImagesSettings(path=str(folder), every=every, actions=str(actions) if actions else None)
    return ImagesSource(settings=settings, fit=fit or FrameFit())


def test_pictures_in_natural_order(tmp_path: Path) -> None:
    write(tmp_path / "monday" / "b", range(12))
    write(tmp_path / "monday" / "a", range(3))
    described = source_of(tmp_path).describe()
    assert described.observation == {"frames": Pixels((32, 40, 3))} and described.action is None
    entries = [(entry.name, entry.rows, entry.group) for entry in described.episodes]
    assert entries == [("monday/a", 3, "monday"), ("monday/b", 12, "monday")] and not described.lossy
    (piece,) = next(source_of(tmp_path).episodes(["monday/b"])).pieces
    assert piece.observations["frames"][:, 0, 0, 0].tolist() == [number * 10 for number in range(12)]


def test_each_second_picture_with_its_action(tmp_path: Path) -> None:
    write(tmp_path / "clips" / "a", range(5), "jpg")
    table = tmp_path / "labels.csv"
    table.write_text("episode,frame,action\na,2,1\na,3,2\n")
    source = source_of(tmp_path / "clips", every=2, actions=table)
    described = source.describe()
    assert described.lossy and described.action == Discrete(3) and described.episodes[0].rows == 3
    (piece,) = next(source.episodes()).pieces
    assert piece.actions is not None and piece.labelled is not None
    assert piece.actions[piece.labelled].tolist() == [1] and piece.labelled.tolist() == [False, True, False]


def test_sizes_that_differ_need_a_size(tmp_path: Path) -> None:
    write(tmp_path / "a", range(2))
    write(tmp_path / "a", range(2, 3), size=(64, 64))
    source = source_of(tmp_path)
    source.describe()
    with pytest.raises(
        ValueError, match=r"frame2.png: found a picture of 64 x 64 .*frame0.png has 32 x 40, expected one"
    ):
        list(next(source.episodes()).pieces)
    (piece,) = next(source_of(tmp_path, FrameFit(64, 64)).episodes()).pieces
    assert piece.observations["frames"].shape == (3, 64, 64, 3)


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a", range(2), size=(64, 64))
    (tmp_path / "a" / "frame1.png").write_bytes((tmp_path / "a" / "frame1.png").read_bytes()[:60])
    with pytest.raises(ValueError, match=r"frame1.png: damaged, or no picture"):
        list(next(source_of(tmp_path).episodes()).pieces)


def test_an_action_of_no_picture_is_named(tmp_path: Path) -> None:
    write(tmp_path / "clips" / "a", range(2))
    table = tmp_path / "labels.csv"
    table.write_text("episode,frame,action\na,2,1\n")
    with pytest.raises(
        ValueError, match=r"labels.csv: episode 'a': found an action of frame 2, expected frames from 0 to 1"
    ):
        source_of(tmp_path / "clips", actions=table).describe()


def test_recognised_by_its_files(tmp_path: Path) -> None:
    assert ImagesSettings.recognised(tmp_path) is None
    write(tmp_path / "a", range(1))
    assert ImagesSettings.recognised(tmp_path) == ImagesSettings(path=str(tmp_path))


def test_pictures_are_as_people_see_them(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).mkdir()
    half = Image.new("RGBA", (40, 32), (200, 100, 50, 255))
    half.paste((200, 100, 50, 0), (0, 0, 20, 32))
    half.save(tmp_path / "a" / "0.png")
    lying = Image.new("RGB", (32, 40), "white")
    lying.paste("black", (0, 0, 32, 20))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # its top is at the right
    lying.save(tmp_path / "b" / "0.png", exif=exif)
    half.convert("RGB").quantize(4).save(tmp_path / "c" / "0.png")
    assert source_of(tmp_path).describe().observation == {"frames": Pixels((32, 40, 3))}
    frames = [next(episode.pieces).observations["frames"][0] for episode in source_of(tmp_path).episodes()]
    assert frames[0][5, [5, 35]].tolist() == [[0, 0, 0], [200, 100, 50]]
    assert frames[1][5, [5, 35]].tolist() == [[255] * 3, [0] * 3]
    assert frames[2][5, 35].tolist() == [200, 100, 50]


def test_pictures_of_16_bits_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a", range(2))
    Image.new("I;16", (40, 32), 60_000).save(tmp_path / "a" / "frame1.png")
    with pytest.raises(ValueError, match=r"frame1.png: found a picture of the mode I;16, expected 8 bits per channel"):
        list(next(source_of(tmp_path).episodes()).pieces)
    Image.new("I;16", (40, 32), 60_000).save(tmp_path / "a" / "frame0.png")
    with pytest.raises(ValueError, match=r"frame0.png: found a picture of the mode I;16"):
        source_of(tmp_path).describe()
