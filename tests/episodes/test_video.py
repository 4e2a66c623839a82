"""Video files as episodes: whole files, and files that are cut, thinned and labelled by tables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from video_clips import LOSSLESS, clip, numbers, write_video

from lamflow.episodes import video
from lamflow.episodes.fit import FrameFit
from lamflow.episodes.interface import EpisodeEntry, Piece, Source
from lamflow.episodes.settings import SOURCES
from lamflow.episodes.video_settings import VideoSettings
from lamflow.spaces import Box, Discrete, Pixels


def source(path: Path, fit: FrameFit | None = None, **settings: Any) -> Source:
    made: Source = VideoSettings(path=str(path), **settings).build(fit=fit or FrameFit())
    return made


def read(found: Source, names: Sequence[str] | None = None) -> dict[str, list[Piece]]:
    return {episode.entry.name: list(episode.pieces) for episode in found.episodes(names)}


def frames_of(pieces: Sequence[Piece]) -> NDArray[Any]:
    return np.concatenate([piece.observations["frames"] for piece in pieces])


def shown(found: Source, names: Sequence[str] | None = None) -> dict[str, list[int]]:
    return {name: numbers(frames_of(pieces)) for name, pieces in read(found, names).items()}


def write_table(path: Path, *rows: str) -> str:
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return str(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Recordings ``day1/a`` of pictures 0 to 19 and ``day2/b`` of pictures 100 to 129; the second says no number of frames."""
    clips = tmp_path / "clips"
    write_video(clips / "day1" / "a.mp4", clip(20), codec="libx264rgb", pixel_format="rgb24", options={"qp": "0"})
    write_video(clips / "day2" / "b.mkv", clip(30, first=100), **LOSSLESS)
    return clips


def test_the_kind_is_found_by_its_name() -> None:
    assert SOURCES.choices()["video"] is VideoSettings


def test_the_settings_of_the_documentation_are_legal() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "your-data.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^ *episodes: (\{ kind: video, .*\})$", page, flags=re.MULTILINE)
    found = [VideoSettings.model_validate(yaml.safe_load(block)) for block in blocks]
    assert len(found) >= 5 and ("data/long", "data/cuts.csv") in [settings.files for settings in found]


def test_a_file_is_an_episode(folder: Path) -> None:
    found = source(folder)
    described = found.describe()
    assert described.observation == {"frames": Pixels((64, 96, 3))} and described.main == "frames"
    assert described.episodes == (EpisodeEntry("day1/a", 20, "day1"), EpisodeEntry("day2/b", None, "day2"))
    assert (described.action, described.lossy, described.frames_per_second, described.notes) == (None, False, 30, ())
    assert not described.final_observations
    assert described.facts == {
        "codecs": ["ffv1", "h264"],
        "pixel_formats": ["bgr0", "gbrp"],
        "recorded_sizes": [[64, 96]],
        "recorded_frames_per_second": [30.0],
        "every": 1,
    }
    pieces = read(found)
    np.testing.assert_array_equal(frames_of(pieces["day1/a"]), clip(20))
    np.testing.assert_array_equal(frames_of(pieces["day2/b"]), clip(30, first=100))
    assert all(piece.actions is None and piece.labelled is None for part in pieces.values() for piece in part)
    assert list(read(found, ["day2/b"])) == ["day2/b"]


def test_a_lossy_file_among_others_makes_all_lossy(folder: Path) -> None:
    write_video(folder / "c.mp4", clip(5))
    assert source(folder).describe().lossy


def test_pieces_are_of_bounded_size(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "PIECE_BYTES", 7 * 64 * 96 * 3 + 1)
    pieces = read(source(folder))["day1/a"]
    assert [len(piece.observations["frames"]) for piece in pieces] == [7, 7, 6]
    assert numbers(frames_of(pieces)) == list(range(20))


def test_every_third_frame_is_kept_from_the_first_one_on(folder: Path) -> None:
    found = source(folder, every=3)
    described = found.describe()
    assert (described.frames_per_second, described.episodes[0].rows, described.facts["every"]) == (10, 7, 3)
    assert shown(found) == {"day1/a": list(range(0, 20, 3)), "day2/b": list(range(100, 130, 3))}


def test_a_table_cuts_by_frames_and_what_it_does_not_name_is_left_out(folder: Path, tmp_path: Path) -> None:
    rows = ("file,start,end,name", "day2/b.mkv,20,,", "day1/a,4,9,jump", "day2/b,3,20,")
    found = source(folder, every=2, cuts={"table": write_table(tmp_path / "cuts.csv", *rows)})
    assert [(entry.name, entry.rows) for entry in found.describe().episodes] == [
        ("jump", 3),
        ("day2/b-0000", 9),
        ("day2/b-0001", None),
    ]
    assert shown(found) == {
        "jump": [4, 6, 8],
        "day2/b-0000": list(range(103, 120, 2)),
        "day2/b-0001": list(range(120, 130, 2)),
    }
    assert shown(found, ["day2/b-0001"]) == {"day2/b-0001": list(range(120, 130, 2))}


def test_a_table_cuts_by_seconds(folder: Path, tmp_path: Path) -> None:
    rows = ("file,start,end", "day2/b,0.333,0.667", "day2/b,0.667,1", "day1/a,0,0.6667")
    found = source(folder, cuts={"table": write_table(tmp_path / "cuts.csv", *rows), "unit": "seconds"})
    assert shown(found) == {
        "day1/a-0000": list(range(20)),
        "day2/b-0000": list(range(110, 120)),
        "day2/b-0001": list(range(120, 130)),
    }


def test_leaps_cut(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pictures = np.repeat(np.array([20, 120, 60], np.uint8), [6, 9, 5])[:, None, None, None] + np.zeros(
        (1, 64, 96, 3), np.uint8
    )
    write_video(tmp_path / "one" / "c.mkv", pictures, **LOSSLESS)
    found = source(tmp_path / "one", cuts={"leaps": 20})
    assert [(entry.name, entry.rows, entry.group) for entry in found.describe().episodes] == [
        ("c-0000", 6, "c"),
        ("c-0001", 9, "c"),
        ("c-0002", 5, "c"),
    ]
    assert [frames_of(pieces)[:, 0, 0, 0].tolist() for pieces in read(found).values()] == [
        [20] * 6,
        [120] * 9,
        [60] * 5,
    ]


def test_damage_behind_the_last_cut_does_not_matter(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", clip(120), options={"g": "12"}, container={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: int(0.7 * path.stat().st_size)])
    with pytest.raises(ValueError, match=r"a\.mp4: found (\d+) frames that can be read") as caught:
        read(source(path))
    match = re.search(r"found (\d+) frames", str(caught.value))
    assert match
    last = int(match[1])
    table = write_table(tmp_path / "cuts.csv", "file,start,end", f"a,0,{last}")
    assert shown(source(path, cuts={"table": table})) == {"a-0000": list(range(last))}


@pytest.mark.slow
def test_an_action_is_that_of_the_frame_that_is_kept(folder: Path, tmp_path: Path) -> None:
    rows = ["episode,frame,action", *(f"day1/a,{frame},{frame % 5}" for frame in range(20)), "day2/b,4,3", "day2/b,5,2"]
    cuts = write_table(tmp_path / "cuts.csv", "file,start,end", "day1/a,3,13", "day2/b,2,9")
    found = source(folder, every=2, cuts={"table": cuts}, actions=write_table(tmp_path / "labels.csv", *rows))
    assert found.describe().action == Discrete(5)
    (first,), (second,) = read(found).values()
    assert first.actions is not None and first.labelled is not None and second.labelled is not None
    assert second.actions is not None
    assert first.actions.tolist() == [3, 0, 2, 4, 1] and first.labelled.all()
    assert second.labelled.tolist() == [False, True, False, False]
    assert second.actions[1] == 3


def test_of_cuts_by_seconds_it_is_told_where_all_or_no_frames_of_the_recording_have_actions(
    folder: Path, tmp_path: Path
) -> None:
    cuts = write_table(tmp_path / "cuts.csv", "file,start,end", "day1/a,0,0.3", "day2/b,0,0.3")
    for labelled, expected in ((range(20), [True, False]), (range(19), [None, False])):
        rows = ["episode,frame,action", *(f"day1/a,{frame},{frame % 5}" for frame in labelled)]
        actions = write_table(tmp_path / "labels.csv", *rows)
        found = source(folder, cuts={"table": cuts, "unit": "seconds"}, actions=actions)
        assert [entry.labelled for entry in found.describe().episodes] == expected


def test_actions_may_be_words_or_numbers(folder: Path, tmp_path: Path) -> None:
    words = write_table(tmp_path / "words.csv", "episode,frame,action", "day1/a,0,left", "day1/a,1,jump")
    described = source(folder, actions=words).describe()
    assert (described.action, described.action_names) == (Discrete(2), ("jump", "left"))
    rows = ("episode,frame,action_0,action_1", "day1/a,0,0.5,1", "day1/a,1,-0.5,1")
    described = source(folder, actions=write_table(tmp_path / "numbers.csv", *rows)).describe()
    assert isinstance(described.action, Box) and described.action.low[0] == -0.5
    assert any("action_1 is 1 in all 2 rows" in note for note in described.notes)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("c,0,1", "labels.csv: found actions of the episode 'c', expected one of 'day1/a', 'day2/b'"),
        ("day1/a,20,1", "labels.csv: episode 'day1/a': found an action of frame 20, expected frames from 0 to 19"),
        ("day2/b,30,1", "labels.csv: episode 'day2/b': found an action of frame 30, expected frames from 0 to 29"),
    ],
)
def test_actions_that_do_not_match_the_recordings(folder: Path, tmp_path: Path, row: str, message: str) -> None:
    table = write_table(tmp_path / "labels.csv", "episode,frame,action", "day1/a,0,0", row)
    with pytest.raises(ValueError, match=re.escape(message)):
        read(source(folder, actions=table))


@pytest.mark.parametrize(
    ("row", "unit", "message"),
    [
        ("day1/a,5,21", "frames", "row 1: found an episode from 5 to 21 (frames), expected one within"),
        ("day2/b,5,31", "frames", "row 1: found an episode from 5 to 31 (frames), expected one within"),
        ("day2/b,30,", "frames", "row 1: found an episode from 30 to its end (frames), expected one within"),
        ("day1/a,0.5,1", "seconds", "row 1: found an episode from 0.5 to 1 (seconds), expected one within"),
        ("day2/b,0.5,2", "seconds", "row 1: found an episode from 0.5 to 2 (seconds), expected one within"),
        ("day2/b,0.503,0.504", "seconds", "row 1: found no frame of"),
    ],
)
def test_cuts_that_do_not_match_the_recordings(folder: Path, tmp_path: Path, row: str, unit: str, message: str) -> None:
    table = write_table(tmp_path / "cuts.csv", "file,start,end", row)
    with pytest.raises(ValueError, match=re.escape(f"{table}: {message}")) as caught:
        read(source(folder, cuts={"table": table, "unit": unit}))
    assert "which has 20 frames" in str(caught.value) or "day2/b" in str(caught.value)


def test_two_episodes_of_one_name_are_refused(folder: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "cuts.csv", "file,start,end,name", "day1/a,0,5,x", "day2/b,0,5,x")
    with pytest.raises(
        ValueError, match=r"row 1 and .*row 2: found two episodes of the name 'x', expected a name once: rename one"
    ):
        source(folder, cuts={"table": table}).describe()


def test_sizes_that_differ_need_a_size(folder: Path) -> None:
    write_video(folder / "c.mkv", clip(3, 48, 80), **LOSSLESS)
    message = r"c\.mkv and .*a\.mp4: found frames of 48 x 80 and of 64 x 96 pixels \(height x width\), expected one size: set `frames:"
    with pytest.raises(ValueError, match=message):
        source(folder).describe()
    found = source(folder, FrameFit(32, 40, "letterbox"))
    assert found.describe().observation == {"frames": Pixels((32, 40, 3))}
    assert {frames_of(pieces).shape for pieces in read(found).values()} == {
        (3, 32, 40, 3),
        (20, 32, 40, 3),
        (30, 32, 40, 3),
    }


def test_frames_out_of_range_name_the_file(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mkv", clip(2, 480, 640), **LOSSLESS)
    with pytest.raises(
        ValueError, match=r"a\.mkv: found frames of 480 x 640 pixels .*: set `frames: \{height: 64, width: 64\}`"
    ):
        source(tmp_path).describe()


def test_what_a_person_should_know_is_noted(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mkv", clip(6), times=[0, 30, 60, 200, 230, 260], **LOSSLESS)
    write_video(tmp_path / "b.mkv", clip(6), rate=10, **LOSSLESS)
    notes = source(tmp_path).describe().notes
    assert len(notes) == 2
    assert notes[0].startswith(
        f"{tmp_path}/a.mkv: the frame rate varies (30 to 140 ms between frames; 1 of 2 files do so)"
    )
    assert notes[1].startswith("The files have 2 frame rates, from 10 to")
    assert source(tmp_path).describe().frames_per_second is None


def write_growing_video(path: Path) -> Path:
    """Motion JPEG, whose pictures are 64 x 96 pixels large, and from frame 4 on 96 x 96."""
    encoders = [av.CodecContext.create("mjpeg", "w") for _ in range(2)]
    for encoder, height in zip(encoders, (64, 96), strict=True):
        encoder.height, encoder.width, encoder.pix_fmt, encoder.time_base = height, 96, "yuvj420p", Fraction(1, 30)
    with av.open(str(path), "w") as opened:
        stream: Any = opened.add_stream("mjpeg", rate=30)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuvj420p"
        for place in range(8):
            height = 64 if place < 4 else 96
            picture = av.VideoFrame.from_ndarray(clip(1, height, first=place)[0]).reformat(format="yuvj420p")
            for packet in encoders[place // 4].encode(picture):
                packet.pts = packet.dts = place
                packet.time_base, packet.stream = Fraction(1, 30), stream
                opened.mux(packet)
    return path


def test_a_size_that_changes_within_a_file_names_the_frame(tmp_path: Path) -> None:
    path = write_growing_video(tmp_path / "a.avi")
    with pytest.raises(
        ValueError,
        match=r"a\.avi: frame 4: found 96 x 96 pixels .*, expected 64 x 96 as in the frames before: set `frames:",
    ):
        read(source(path))
    frames = frames_of(read(source(path, FrameFit(48, 48)))["a"])
    assert frames.shape == (8, 48, 48, 3) and numbers(frames) == list(range(8))
