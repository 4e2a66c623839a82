"""Video files of all kinds give the pictures that were encoded, in order, and say what is wrong with them."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from video_clips import LOSSLESS, clip, numbers, write_moved, write_video

from lamflow.episodes.decoding import pictures, video_facts
from lamflow.episodes.fit import FrameFit

VP9 = {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}}
AV1 = {"codec": "libsvtav1", "options": {"preset": "12", "crf": "30", "g": "2"}}
KINDS: dict[str, tuple[str, dict[str, Any], str]] = {
    "h264": ("mp4", {}, "h264"),
    "av1": ("mp4", AV1, "av1"),
    "vp9": ("webm", VP9, "vp9"),
    "hevc of 10 bits": (
        "mkv",
        {"codec": "libx265", "pixel_format": "yuv420p10le", "options": {"x265-params": "log-level=none"}},
        "hevc",
    ),
    "h264 of 10 bits": ("mp4", {"pixel_format": "yuv420p10le"}, "h264"),
    "mpeg4": ("avi", {"codec": "mpeg4", "options": {"qscale": "2", "flags": "+qscale"}}, "mpeg4"),
    "ffv1": ("mkv", LOSSLESS, "ffv1"),
    "h264 that loses nothing": (
        "mp4",
        {"codec": "libx264rgb", "pixel_format": "rgb24", "options": {"qp": "0"}},
        "h264",
    ),
    "raw": ("avi", {"codec": "rawvideo", "pixel_format": "bgr24"}, "rawvideo"),
    "png": ("mov", {"codec": "png", "pixel_format": "rgb24"}, "png"),
}
EXACT = {"ffv1", "h264 that loses nothing", "raw", "png"}
LISTED = {"mp4", "mov", "avi"}
MEAN_ERROR = 3.0
"""Of 255; chroma at half resolution alone makes 1.5 in these pictures."""


def decoded(path: Path, fit: FrameFit | None = None) -> NDArray[np.uint8]:
    return np.stack([picture.turn.frame(picture.image, fit or FrameFit()) for picture in pictures(path)])


def error(frames: NDArray[Any], expected: NDArray[Any]) -> float:
    return float(np.abs(frames.astype(int) - expected).mean())


@pytest.mark.parametrize("kind", KINDS)
def test_all_pictures_come_in_order_and_as_they_were(tmp_path: Path, kind: str) -> None:
    ending, encoding, codec = KINDS[kind]
    path, encoded = tmp_path / f"clip.{ending}", clip(40)
    write_video(path, encoded, **encoding)
    found, facts = decoded(path), video_facts(path)
    assert numbers(found) == list(range(40))
    if kind in EXACT:
        np.testing.assert_array_equal(found, encoded)
    else:
        assert error(found, encoded) < MEAN_ERROR
    assert (facts.height, facts.width, facts.rate, facts.codec) == (64, 96, 30, codec)
    assert facts.lossy == (kind not in EXACT)
    assert facts.num_frames == (40 if ending in LISTED else None)
    assert facts.intervals is None


def test_h264_in_rgb_that_loses_something_is_lossy(tmp_path: Path) -> None:
    encoding = {"codec": "libx264rgb", "pixel_format": "rgb24", "options": {"qp": "20"}}
    assert video_facts(write_video(tmp_path / "a.mp4", clip(3), **encoding)).lossy


def test_numbers_and_times_count_from_the_first_picture(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.webm", clip(5), rate=10, **VP9)
    found = list(pictures(path))
    assert [picture.number for picture in found] == [0, 1, 2, 3, 4]
    assert [round(picture.seconds, 3) for picture in found] == [0, 0.1, 0.2, 0.3, 0.4]


def test_a_gif_gives_the_colours_of_its_palette(tmp_path: Path) -> None:
    flat = np.zeros((6, 48, 64, 3), np.uint8)
    for place in range(6):
        flat[place, :, : 8 * place] = (200, 30, 90)
        flat[place, 10:20, 8 * place :] = (10, 220, 40)
    first, *others = [Image.fromarray(pixels).convert("P", palette=Image.Palette.ADAPTIVE) for pixels in flat]
    first.save(tmp_path / "a.gif", save_all=True, append_images=others, duration=[40, 40, 40, 40, 40, 40])
    np.testing.assert_array_equal(decoded(tmp_path / "a.gif"), flat)
    facts = video_facts(tmp_path / "a.gif")
    assert (facts.codec, facts.lossy, facts.rate, facts.intervals) == ("gif", False, 25, None)


def test_what_is_transparent_in_a_gif_is_black(tmp_path: Path) -> None:
    rgba = np.zeros((40, 40, 4), np.uint8)
    rgba[10:30, 10:30] = (250, 10, 20, 255)
    shifted = np.roll(rgba, 5, axis=1)
    first, second = Image.fromarray(rgba), Image.fromarray(shifted)
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second], disposal=2)
    np.testing.assert_array_equal(decoded(tmp_path / "a.gif"), np.stack([rgba, shifted])[..., :3])


def test_half_transparent_pictures_stand_over_black(tmp_path: Path) -> None:
    rgba = np.full((2, 40, 40, 4), 200, np.uint8)
    rgba[:, :20, :, 3] = 255
    rgba[:, 20:, :, 3] = 51
    write_video(tmp_path / "a.mov", rgba, codec="png", pixel_format="rgba", given="rgba")
    frames = decoded(tmp_path / "a.mov")
    assert (frames[:, :20] == 200).all() and (frames[:, 20:] == 40).all()


def test_grey_pictures_have_three_equal_channels(tmp_path: Path) -> None:
    grey = np.repeat(clip(4)[..., :1], 3, axis=-1)
    path = write_video(tmp_path / "a.mkv", grey, codec="ffv1", pixel_format="gray")
    np.testing.assert_allclose(decoded(path).astype(int), grey, atol=1)


@pytest.mark.parametrize("colorspace", [1, 5], ids=["BT.709", "BT.601"])
def test_colours_are_read_as_the_file_says_that_they_were_written(tmp_path: Path, colorspace: int) -> None:
    pictures_ = np.zeros((2, 48, 64, 3), np.uint8)
    pictures_[:, :, :32], pictures_[:, :, 32:] = (200, 40, 30), (30, 180, 220)
    encoding: dict[str, Any] = {"pixel_format": "yuv444p", "options": {"qp": "0"}, "colorspace": colorspace}
    path = write_video(tmp_path / "a.mp4", pictures_, **encoding)
    np.testing.assert_allclose(decoded(path).astype(int), pictures_, atol=3)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_pictures_are_turned_upright(tmp_path: Path, degrees: int, mirrored: bool) -> None:
    encoding = {"codec": "libx264rgb", "pixel_format": "rgb24", "options": {"qp": "0"}, "turned": (degrees, mirrored)}
    lying = clip(3)
    path = write_video(tmp_path / "a.mp4", lying, **encoding)
    upright = np.rot90(lying, degrees // 90, axes=(1, 2))
    upright = upright[:, :, ::-1] if mirrored else upright
    np.testing.assert_array_equal(decoded(path), upright)
    facts = video_facts(path)
    assert (facts.height, facts.width) == upright.shape[1:3]
    boxed = decoded(path, FrameFit(64, 64, "letterbox"))
    assert not boxed[:, 2].any() if degrees % 180 == 0 else not boxed[:, :, 2].any()
    assert boxed[:, 32, 32].any()


@pytest.mark.parametrize("name", ["a.webm", "a.mkv"])
def test_odd_sizes(tmp_path: Path, name: str) -> None:
    encoded = clip(9, 65, 97)
    path = write_video(tmp_path / name, encoded, **(VP9 if name == "a.webm" else LOSSLESS))
    frames = decoded(path)
    assert frames.shape == encoded.shape and numbers(frames) == list(range(9))
    assert error(frames, encoded) < (MEAN_ERROR if name == "a.webm" else 1e-9)


@pytest.mark.parametrize("name", ["a.mp4", "a.webm"])
def test_a_variable_frame_rate_is_found_and_order_counts(tmp_path: Path, name: str) -> None:
    times = [0, 33, 67, 200, 233, 300, 333, 500, 533, 600]
    path = write_video(tmp_path / name, clip(10), times=times, **(VP9 if name == "a.webm" else {}))
    assert video_facts(path).intervals == pytest.approx((0.033, 0.167))
    assert numbers(decoded(path)) == list(range(10))


def test_a_long_even_recording_with_reordered_pictures_is_even(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", clip(400), options={"bf": "3", "b_strategy": "0"})
    assert video_facts(path).intervals is None


def test_frames_that_an_edit_hides_do_not_count(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mp4", clip(40), options={"g": "20", "bf": "2"})
    path = write_moved(tmp_path / "cut.mp4", whole, -7, container={"avoid_negative_ts": "disabled"})
    assert video_facts(path).num_frames == 33
    assert numbers(decoded(path)) == list(range(7, 40))


@pytest.mark.parametrize("name", ["late.mkv", "late.mp4"])
def test_a_recording_may_begin_late(tmp_path: Path, name: str) -> None:
    path = write_moved(tmp_path / name, write_video(tmp_path / "whole.mp4", clip(20)), 90)
    found = list(pictures(path))
    assert len(found) == 20
    assert [picture.seconds for picture in found[:3]] == pytest.approx([0, 1 / 30, 2 / 30], abs=2e-3)


def test_an_mp4_in_fragments_lists_no_number(tmp_path: Path) -> None:
    fragments = {"movflags": "frag_keyframe+empty_moov"}
    path = write_video(tmp_path / "a.mp4", clip(40), options={"g": "10"}, container=fragments)
    assert video_facts(path).num_frames is None
    assert numbers(decoded(path)) == list(range(40))


def cut_short(path: Path, share: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    return path


def readable(path: Path) -> int:
    """How many pictures come before the error, which must name the file and this number."""
    count = 0
    with pytest.raises(ValueError, match=f"^{path}: found ") as caught:
        for _ in pictures(path):
            count += 1
    assert f"{path}: found {count} frames that can be read (to " in str(caught.value)
    assert "copy or record it again, remove it, or keep its begin by" in str(caught.value)
    return count


def test_an_mp4_that_is_cut_short_says_how_many_frames_could_be_read(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", clip(120), options={"g": "12"}, container={"movflags": "faststart"})
    cut_short(path, 0.6)
    assert video_facts(path).num_frames == 120
    assert 20 < readable(path) < 100


def test_an_mp4_without_its_end_has_no_list_of_frames(tmp_path: Path) -> None:
    path = cut_short(write_video(tmp_path / "a.mp4", clip(30)), 0.6)
    with pytest.raises(
        ValueError, match=r"a\.mp4: found the begin of an mp4 and not its list of frames, so that 0 frames can be read"
    ):
        video_facts(path)


@pytest.mark.parametrize("name", ["a.webm", "a.mkv", "a.avi"])
def test_other_files_that_are_cut_short(tmp_path: Path, name: str) -> None:
    encodings: dict[str, dict[str, Any]] = {"a.webm": VP9, "a.mkv": {}, "a.avi": {"codec": "mpeg4"}}
    path = cut_short(write_video(tmp_path / name, clip(120), **encodings[name]), 0.5)
    assert 20 < readable(path) < 100


@pytest.mark.parametrize(("name", "codec"), [("a.avi", "mpeg4"), ("a.mp4", "libx264")])
def test_a_damaged_picture_ends_what_can_be_read(tmp_path: Path, name: str, codec: str) -> None:
    path = write_video(tmp_path / name, clip(60), codec=codec)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 200] = bytes(200)
    path.write_bytes(content)
    assert readable(path) < 60


def test_files_that_are_no_video_are_named(tmp_path: Path) -> None:
    text, empty, sound = tmp_path / "text.mp4", tmp_path / "empty.mp4", tmp_path / "sound.avi"
    text.write_text("no video\n" * 1000)
    empty.touch()
    with wave.open(str(sound), "wb") as opened:
        opened.setparams((1, 2, 8000, 8000, "NONE", ""))
        opened.writeframes(bytes(16000))
    with pytest.raises(
        ValueError,
        match=r"text\.mp4: found no video \(Invalid data found .*\), expected one: remove the file, or convert it",
    ):
        video_facts(text)
    with pytest.raises(
        ValueError, match=r"empty\.mp4: found an empty file, expected a video: copy it again or remove it"
    ):
        video_facts(empty)
    with pytest.raises(ValueError, match=r"sound\.avi: found streams of audio, expected one of video: remove the file"):
        video_facts(sound)
