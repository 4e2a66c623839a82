"""Data sets of LeRobot: every layout gives the same episodes, and what is wrong with one is said with file, episode and frame."""

import io
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lerobot_files import (
    FPS,
    LENGTHS,
    TASKS,
    TOP,
    WRIST,
    Recording,
    change_column,
    change_info,
    png,
    recordings,
    write_parquet,
    write_v2,
    write_v3,
)
from numpy.typing import NDArray

from lamflow.episodes.fit import FrameFit
from lamflow.episodes.interface import Piece, RecordedEpisode
from lamflow.episodes.lerobot import LeRobotSource
from lamflow.episodes.lerobot_settings import LeRobotSettings
from lamflow.episodes.settings import SOURCES
from lamflow.spaces import Box, Discrete, Pixels, Vector

EPISODES = recordings()
DATA, LIST = "data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet"
TOP_VIDEO = f"videos/{TOP}/chunk-000/file-000.mp4"


def source(root: Path, fit: FrameFit | None = None, **settings: Any) -> LeRobotSource:
    chosen = LeRobotSettings(path=str(root), **settings)
    built = chosen.build(fit=fit or FrameFit())
    assert isinstance(built, LeRobotSource)
    return built


def whole(episode: RecordedEpisode) -> Piece:
    """All pieces of an episode as one."""
    pieces = list(episode.pieces)
    parts = {name: np.concatenate([piece.observations[name] for piece in pieces]) for name in pieces[0].observations}
    columns = []
    for name in ("actions", "labelled", "rewards"):
        values = [getattr(piece, name) for piece in pieces]
        columns.append(None if all(value is None for value in values) else np.concatenate(values))
    return Piece(parts, *columns)


def read(root: Path, **settings: Any) -> list[Piece]:
    return [whole(episode) for episode in source(root, **settings).episodes()]


def errors(found: list[Piece], camera: str, episodes: list[Recording] = EPISODES) -> list[float]:
    """The mean difference of an episode's frames from those that were recorded, of 255."""
    pairs = zip(found, episodes, strict=True)
    return [float(np.abs(piece.observations["frames"].astype(int) - e.cameras[camera]).mean()) for piece, e in pairs]


@pytest.fixture(scope="module")
def lossless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_v3(tmp_path_factory.mktemp("lossless") / "set", EPISODES, "libx264rgb")


@pytest.fixture
def copied(tmp_path: Path, lossless: Path) -> Path:
    """A v3.0 data set that a test may damage."""
    return Path(shutil.copytree(lossless, tmp_path / "set"))


def failing(root: Path, **settings: Any) -> str:
    """The message with which a data set is refused, by its description or when it is read."""
    with pytest.raises(ValueError) as caught:
        source(root, **settings).describe()
        read(root, **settings)
    return str(caught.value)


LAYOUTS = {
    "v3.0 av1": (lambda root: write_v3(root, EPISODES), 2.5),
    "v3.0 h264": (lambda root: write_v3(root, EPISODES, "libx264"), 2.0),
    "v3.0 lossless": (lambda root: write_v3(root, EPISODES, "libx264rgb"), 0.0),
    "v3.0 images": (lambda root: write_v3(root, EPISODES, None), 0.0),
    "v2.1 h264": (lambda root: write_v2(root, EPISODES, "libx264"), 2.0),
    "v2.1 lossless": (lambda root: write_v2(root, EPISODES, "libx264rgb"), 0.0),
    "v2.1 images": (lambda root: write_v2(root, EPISODES, None), 0.0),
    "v2.0 lossless": (lambda root: write_v2(root, EPISODES, "libx264rgb", "v2.0"), 0.0),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_episodes_that_were_recorded(tmp_path: Path, layout: str) -> None:
    write, most = LAYOUTS[layout]
    root = write(tmp_path / "set")
    for camera in (TOP, WRIST):
        found = read(root, camera=camera, parts={"state": "observation.state"})
        assert [len(piece.observations["frames"]) for piece in found] == list(LENGTHS)
        for piece, episode in zip(found, EPISODES, strict=True):
            assert piece.actions is not None and piece.actions.dtype == np.float32 and piece.labelled is None
            assert piece.actions.tobytes() == episode.actions.tobytes()
            assert piece.observations["state"].tobytes() == episode.state.tobytes()
        assert all(error <= most for error in errors(found, camera)), errors(found, camera)
        assert source(root).describe().lossy == (most > 0)
        if most:  # another row's frame would be further off
            shifted = [Recording({camera: np.roll(e.cameras[camera], 1, axis=0)}, *[None] * 4) for e in EPISODES]  # type: ignore[arg-type]
            assert np.mean(errors(found, camera, shifted)) > 2 * np.mean(errors(found, camera))


def test_a_data_set_is_described_without_decoding_it(lossless: Path) -> None:
    described = source(lossless, parts={"state": "observation.state"}).describe()
    assert described.observation == {"frames": Pixels((64, 64, 3)), "state": Vector((3,))}
    actions = np.concatenate([episode.actions for episode in EPISODES])
    assert described.action == Box(tuple(actions.min(0).tolist()), tuple(actions.max(0).tolist()))
    assert [(entry.name, entry.rows, entry.group) for entry in described.episodes] == [
        (f"episode_{index:06d}", rows, TASKS[index]) for index, rows in enumerate(LENGTHS)
    ]
    assert (described.main, described.frames_per_second, described.licence) == ("frames", FPS, "apache-2.0")
    assert not described.lossy and not described.final_observations
    facts = {"version": "v3.0", "camera": TOP, "codec": "h264", "robot": "so101", "recorded_height": 64}
    assert facts.items() <= described.facts.items()
    assert described.facts["tasks"] == ["lift the cube", "push the cube"]
    assert described.facts["action_entries"] == ["shoulder", "elbow"]
    assert described.notes == (f"{lossless}: pictures are those of {TOP}; other cameras: {WRIST} (`camera:`).",)
    assert json.dumps(dict(described.facts))


def test_pictures_become_frames_of_the_size_that_is_asked_for(lossless: Path) -> None:
    small = source(lossless, FrameFit(32, 48, "letterbox"))
    assert small.describe().observation["frames"] == Pixels((32, 48, 3))
    frames = whole(next(iter(small.episodes()))).observations["frames"]
    assert frames.shape == (LENGTHS[0], 32, 48, 3) and not frames[:, :, :8].any() and frames[:, :, 8:40].any()


def test_the_last_row_says_whether_an_episode_reached_its_end(lossless: Path, tmp_path: Path) -> None:
    assert [episode.terminated for episode in source(lossless).episodes()] == [True, False, True]
    old = write_v2(tmp_path / "old", EPISODES, "libx264rgb")
    assert [episode.terminated for episode in source(old).episodes()] == [True, False, True]


def test_rewards_come_along(lossless: Path) -> None:
    rewards = np.concatenate([piece.rewards for piece in read(lossless)])  # type: ignore[misc]
    assert rewards.dtype == np.float32 and rewards.tolist() == [row / 8 for row in range(sum(LENGTHS))]


def test_episodes_can_be_chosen_by_name(lossless: Path) -> None:
    chosen = list(map(whole, source(lossless).episodes(["episode_000002", "episode_000000"])))
    assert errors(chosen, TOP, [EPISODES[0], EPISODES[2]]) == [0, 0]
    with pytest.raises(ValueError, match="found no episode 'episode_7', expected names from episode_000000"):
        next(source(lossless).episodes(["episode_7"]))


def test_an_episode_that_is_given_up_half_way_does_not_disturb_the_next(lossless: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("lamflow.episodes.lerobot.PIECE_BYTES", 3 * 64 * 64 * 3)
    found = [next(episode.pieces).observations["frames"] for episode in source(lossless).episodes()]
    assert [len(frames) for frames in found] == [3, 2, 2]  # what a batch of three rows has of each
    assert all((frames == e.cameras[TOP][: len(frames)]).all() for frames, e in zip(found, EPISODES, strict=True))


def test_pieces_are_small_and_follow_one_another(lossless: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("lamflow.episodes.lerobot.PIECE_BYTES", 3 * 64 * 64 * 3)
    pieces = [[len(piece.observations["frames"]) for piece in e.pieces] for e in source(lossless).episodes()]
    assert all(max(rows) <= 3 for rows in pieces) and [sum(rows) for rows in pieces] == list(LENGTHS)
    assert errors(read(lossless), TOP) == [0, 0, 0]


def test_each_video_file_is_opened_once_to_be_read(lossless: Path, monkeypatch: Any) -> None:
    opened = []
    described = source(lossless, camera="wrist")
    described.describe()
    from lamflow.episodes import lerobot_videos

    real = lerobot_videos.open_video
    monkeypatch.setattr(lerobot_videos, "open_video", lambda path: (opened.append(path.name), real(path))[1])
    assert errors([whole(episode) for episode in described.episodes()], WRIST) == [0, 0, 0]
    assert opened == ["file-000.mp4", "file-001.mp4"]


@pytest.mark.parametrize("names", [["episode_000002"], ["episode_000000", "episode_000002"]])
def test_long_stretches_that_nobody_asked_for_are_leapt_over(tmp_path: Path, names: list[str]) -> None:
    episodes = recordings((4, 80, 6))
    root = write_v3(tmp_path / "set", episodes, "libx264rgb")
    chosen = [episodes[int(name[-1])] for name in names]
    assert errors([whole(e) for e in source(root).episodes(names)], TOP, chosen) == [0] * len(names)


def test_times_of_rows_do_not_count(copied: Path) -> None:
    """Some recorders write the time of the day."""
    change_column(copied / DATA, "timestamp", np.random.default_rng(0).uniform(1e9, 2e9, sum(LENGTHS)))
    assert errors(read(copied), TOP) == [0, 0, 0]


def test_wrong_offsets_of_rows_do_not_count(copied: Path) -> None:
    change_column(copied / LIST, "dataset_from_index", [5, 5, 5])
    assert [len(piece.observations["frames"]) for piece in read(copied)] == list(LENGTHS)


def test_whole_numbers_are_discrete_actions(tmp_path: Path) -> None:
    discrete = [Recording(e.cameras, e.state, np.arange(len(e.actions)) % 5, e.task, e.success) for e in EPISODES]
    root = write_v3(tmp_path / "set", discrete, "libx264rgb")
    assert source(root).describe().action == Discrete(5)
    for piece, episode in zip(read(root), discrete, strict=True):
        assert piece.actions is not None and piece.actions.dtype == np.int64
        assert piece.actions.tolist() == episode.actions.tolist()


def test_bounds_are_those_of_the_data_where_no_statistics_are(copied: Path) -> None:
    before = source(copied).describe().action
    (copied / "meta/stats.json").unlink()
    assert source(copied).describe().action == before


def test_a_data_set_without_actions_is_one(copied: Path) -> None:
    info = json.loads((copied / "meta/info.json").read_text())
    del info["features"]["action"]
    change_info(copied, features=info["features"])
    change_column(copied / DATA, "action", None)
    described = source(copied).describe()
    assert (
        described.action is None and f"{copied}: there is no column 'action': no row has an action." in described.notes
    )
    assert all(piece.actions is None for piece in read(copied))


def actions_set_to(root: Path, values: NDArray[np.float32]) -> None:
    change_column(root / DATA, "action", pa.FixedSizeListArray.from_arrays(values.reshape(-1), 2))
    (root / "meta/stats.json").unlink()


def test_actions_that_never_change_are_unknown_ones(copied: Path) -> None:
    actions_set_to(copied, np.zeros((sum(LENGTHS), 2), np.float32))
    described = source(copied).describe()
    assert described.action is None
    assert (
        f"{copied}/data: the column 'action' is 0.0 in all rows: it is taken as unknown, so no row has an action."
        in described.notes
    )
    assert all(piece.actions is None for piece in read(copied))


def test_an_entry_that_never_changes_is_reported(copied: Path) -> None:
    values = np.concatenate([episode.actions for episode in EPISODES])
    values[:, 1] = 3
    actions_set_to(copied, values)
    found = f"{copied}/data: elbow of the column 'action' is 3 in all rows: it may be one that nobody filled."
    assert found in source(copied).describe().notes
    assert np.concatenate([piece.actions for piece in read(copied)]).tobytes() == values.tobytes()  # type: ignore[misc]


def test_rows_without_an_action_are_not_labelled(copied: Path) -> None:
    actions = [row.tolist() for episode in EPISODES for row in episode.actions]
    change_column(copied / DATA, "action", pa.array([None, *actions[1:]], pa.list_(pa.float32(), 2)))
    first, second, _ = read(copied)
    assert first.labelled is not None and first.labelled.tolist() == [False, *[True] * (LENGTHS[0] - 1)]
    assert second.labelled is None
    assert first.actions is not None and first.actions[1:].tobytes() == EPISODES[0].actions[1:].tobytes()


@pytest.mark.parametrize("layout", ["v3", "v2"])
def test_entries_say_which_episodes_have_actions(tmp_path: Path, layout: str) -> None:
    """The first episode has none, the second one lacks one; where no row lacks one, nothing is said."""
    root = (write_v3 if layout == "v3" else write_v2)(tmp_path / "set", EPISODES, None)
    assert [entry.labelled for entry in source(root).describe().episodes] == [None] * 3
    actions = [row.tolist() for episode in EPISODES for row in episode.actions]
    actions[: LENGTHS[0] + 1] = [None] * (LENGTHS[0] + 1)  # type: ignore[list-item]
    files, first = sorted((root / "data").rglob("*.parquet")), 0
    for path in files:
        count = pq.read_metadata(path).num_rows
        change_column(path, "action", pa.array(actions[first : first + count], pa.list_(pa.float32(), 2)))
        first += count
    assert [entry.labelled for entry in source(root).describe().episodes] == [False, True, True]
    assert [entry.labelled for entry in source(root, actions=None).describe().episodes] == [None] * 3


def test_actions_can_be_left_out(lossless: Path) -> None:
    assert source(lossless, actions=None).describe().action is None
    assert all(piece.actions is None for piece in read(lossless, actions=None))


def test_images_may_lie_beside_the_rows(tmp_path: Path) -> None:
    root = write_v3(tmp_path / "set", EPISODES, None)
    (root / "images").mkdir()
    frames = [frame for episode in EPISODES for frame in episode.cameras[TOP]]
    for number, frame in enumerate(frames):
        (root / f"images/{number}.png").write_bytes(png(frame))
    cells = [{"bytes": None, "path": f"images/{number}.png"} for number in range(len(frames))]
    change_column(root / DATA, TOP, pa.array(cells, pa.struct({"bytes": pa.binary(), "path": pa.string()})))
    assert errors(read(root), TOP) == [0, 0, 0]


def test_depth_maps_are_no_cameras(copied: Path) -> None:
    info = json.loads((copied / "meta/info.json").read_text())
    info["features"][TOP]["info"] = {"video.is_depth_map": True}
    change_info(copied, features=info["features"])
    assert source(copied).describe().facts["camera"] == WRIST
    assert f"found no camera '{TOP}', expected one of {WRIST}" in failing(copied, camera=TOP)


def test_a_data_set_is_recognised_by_its_info(lossless: Path, tmp_path: Path) -> None:
    group = SOURCES.choices()["lerobot"]
    assert group.recognised(lossless) == LeRobotSettings(path=str(lossless))
    assert group.recognised(tmp_path) is None
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/info.json").write_text("[1]")
    assert group.recognised(tmp_path) is None


def cut(path: Path, part: float) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])


def damage_footer(root: Path) -> str:
    cut(root / DATA, 0.9)
    return f"{DATA}: found no footer at the end of the parquet file, expected one: the recording was not closed (`dataset.finalize()`"


def damage_list_footer(root: Path) -> str:
    cut(root / LIST, 0.9)
    return f"{LIST}: found no footer at the end of the parquet file"


def damage_video(root: Path) -> str:
    cut(root / TOP_VIDEO, 0.5)
    return f"{TOP_VIDEO}: could not be opened as a video: "


def damage_missing_video(root: Path) -> str:
    (root / TOP_VIDEO).unlink()
    return f"{TOP_VIDEO}: episode 0: found no such file, expected the video of the camera {TOP}"


def damage_missing_data(root: Path) -> str:
    (root / DATA).unlink()
    return f"{DATA}: episode 0: found no such file, expected its 7 rows"


def damage_missing_list(root: Path) -> str:
    (root / LIST).unlink()
    return "meta/episodes: found no parquet file, expected the list of episodes"


def damage_version(root: Path) -> str:
    change_info(root, codebase_version="v1.6")
    return "meta/info.json: found the codebase_version 'v1.6', expected one of v2.0, v2.1, v3.0: convert the data set"


def damage_rows_of_the_last(root: Path) -> str:
    table = pq.read_table(root / DATA)
    write_parquet(root / DATA, table.slice(0, len(table) - 2))
    return f"{DATA}: episode 2: found 3 rows that follow one another, expected 5, the length in meta/"


def damage_rows_of_the_second(root: Path) -> str:
    change_column(root / DATA, "episode_index", [0] * 7 + [1] * 13 + [2] * 4)
    return f"{DATA}: episode 1: found more rows that follow one another, expected 12"


def damage_numbers(root: Path) -> str:
    change_column(root / DATA, "episode_index", [0] * 7 + [1] * 12 + [3] * 5)
    return f"{DATA}: episode 2: found none of its rows, expected 5"


def damage_twice(root: Path) -> str:
    change_column(root / LIST, "episode_index", [0, 1, 1])
    return "meta: found episode 1 listed twice, expected once"


def damage_overlap(root: Path) -> str:
    change_column(root / LIST, f"videos/{TOP}/from_timestamp", [0.0, 0.2, 1.9])
    return f"{TOP_VIDEO}: episode 1: found that it begins at 0.2 s, expected 0.7 s or later, where episode 0 ends"


def damage_beyond_the_end(root: Path) -> str:
    change_column(root / LIST, f"videos/{TOP}/from_timestamp", [0.0, 0.7, 2.1])
    change_column(root / LIST, f"videos/{TOP}/to_timestamp", [0.7, 1.9, 2.6])
    return f"{TOP_VIDEO}: episode 2: found 3 frames, expected 5, one per row of"


def damage_range(root: Path) -> str:
    change_column(root / LIST, f"videos/{TOP}/to_timestamp", [0.7, 0.7, 2.4])
    return "meta/episodes: episode 1: found no video of the camera observation.images.top, or an end that does not follow its begin"


def damage_too_many(root: Path) -> str:
    table = pq.read_table(root / DATA)
    write_parquet(root / DATA, pa.concat_tables([table.slice(0, 18), table.slice(19)]))
    change_column(root / LIST, "length", [7, 11, 5])
    return f"{TOP_VIDEO}: episode 1: found more than 11 frames, expected one per row of"


def damage_nan(root: Path) -> str:
    values = np.concatenate([episode.actions for episode in EPISODES])
    values[7 + 4, 1] = math.nan
    actions_set_to(root, values)
    return f"{DATA}: episode 1, column 'action', frame 4: found nan in entry 1, expected a finite number"


def damage_statistics(root: Path) -> str:
    (root / "meta/stats.json").write_text(json.dumps({"action": {"min": [-9, -9], "max": [9, 0.001]}}))
    return f"{DATA}: episode 0, column 'action', frame "


def damage_column(root: Path) -> str:
    change_column(root / DATA, "next.reward", None)
    return f"{DATA}: found no column next.reward, expected the columns that meta/info.json lists; found are observation.state"


def damage_width(root: Path) -> str:
    change_column(root / DATA, "action", np.zeros(sum(LENGTHS), np.float32))
    return f"{DATA}: episode 0, column 'action': found 7 numbers in 7 rows, expected 2 per row"


def damage_text(root: Path) -> str:
    info = json.loads((root / "meta/info.json").read_text())
    info["features"]["action"] = {"dtype": "string", "shape": [1]}
    change_info(root, features=info["features"])
    return "meta/info.json: found string of shape [1] in the column 'action', expected a vector of numbers"


def damage_json(root: Path) -> str:
    (root / "meta/info.json").write_text("{")
    return "meta/info.json: could not be read as JSON"


def damage_no_set(root: Path) -> str:
    (root / "meta/info.json").unlink()
    return "meta/info.json: found no such file, expected a LeRobot data set"


DAMAGES = [value for name, value in sorted(globals().items()) if name.startswith("damage_")]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__.removeprefix("damage_"))
def test_a_damaged_data_set_is_refused_with_what_is_wrong(copied: Path, damage: Any) -> None:
    expected = damage(copied)
    message = failing(copied)
    assert expected in message and str(copied) in message


def test_an_old_data_set_that_lacks_files_is_refused(tmp_path: Path) -> None:
    root = write_v2(tmp_path / "set", EPISODES, "libx264rgb")
    data, video = "data/chunk-000/episode_000001.parquet", f"videos/chunk-000/{TOP}/episode_000002.mp4"
    for path, expected in {video: "episode 2: found no such file", data: "episode 1: found no such file"}.items():
        (root / path).unlink()
        assert f"{root / path}: {expected}" in failing(root)


def test_an_old_video_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    root = write_v2(tmp_path / "set", EPISODES, "libx264rgb")
    video = root / f"videos/chunk-000/{TOP}/episode_000001.mp4"
    longer = root / f"videos/chunk-000/{TOP}/episode_000000.mp4"
    video.write_bytes(longer.read_bytes())
    assert f"{video}: episode 1: found 7 frames, expected 12, one per row of" in failing(root)
    cut(video, 0.5)
    assert f"{video}: episode 1, frame 0: {video}: could not be opened as a video" in failing(root)


def test_a_video_whose_end_is_missing_is_refused(tmp_path: Path) -> None:
    """Its index stands at the beginning: it can be opened."""
    episodes = recordings((60,))
    root = write_v2(tmp_path / "set", episodes, "libx264rgb")
    video = root / f"videos/chunk-000/{TOP}/episode_000000.mp4"
    whole_video = io.BytesIO(video.read_bytes())
    with av.open(whole_video) as part, av.open(str(video), "w", container_options={"movflags": "faststart"}) as out:
        stream = out.add_stream_from_template(part.streams.video[0])
        for packet in part.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    assert errors(read(root), TOP, episodes) == [0]
    cut(video, 0.6)
    message = failing(root)
    assert f"{video}: episode 0" in message and "frame" in message
    assert "cut short" in message


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    root = write_v3(tmp_path / "set", EPISODES, None)
    cells = pq.read_table(root / DATA)[TOP].to_pylist()
    cells[9] = {"bytes": b"no picture", "path": None}
    change_column(root / DATA, TOP, cells)
    assert f"{root / DATA}: episode 1, frame 2: found no picture in the column {TOP}" in failing(root)


def test_images_of_several_sizes_need_a_size(tmp_path: Path) -> None:
    root = write_v3(tmp_path / "set", EPISODES, None)
    cells = pq.read_table(root / DATA)[TOP].to_pylist()
    cells[9] = {"bytes": png(np.zeros((40, 50, 3), np.uint8)), "path": None}
    change_column(root / DATA, TOP, cells)
    assert f"{root / DATA}: episode 1, frame 2: found 40 x 50 pixels, expected 64 x 64" in failing(root)
    fitted = source(root, FrameFit(64, 64)).episodes()
    assert [whole(episode).observations["frames"].shape[0] for episode in fitted] == list(LENGTHS)


def wrong_settings() -> Iterator[tuple[dict[str, Any], str]]:
    yield {"camera": "front"}, f"found no camera 'front', expected one of {TOP}, {WRIST}"
    yield {"actions": "ctrl"}, "found no column 'ctrl', expected one of observation.state, action"
    yield (
        {"parts": {"state": "state"}},
        "parts.state: found no column 'state', expected one of observation.state, action",
    )
    yield {"parts": {"view": WRIST}}, f"parts.view: found a camera '{WRIST}', expected one of observation.state"
    yield (
        {"parts": {"frames": "action"}},
        "frames is the part that holds the camera's pictures: give 'action' another name",
    )


@pytest.mark.parametrize(("settings", "message"), list(wrong_settings()))
def test_settings_that_do_not_fit_the_data_are_refused(lossless: Path, settings: dict[str, Any], message: str) -> None:
    assert message in failing(lossless, **settings)


def test_gaps_in_a_video_are_reported(copied: Path) -> None:
    change_column(copied / LIST, f"videos/{TOP}/from_timestamp", [0.0, 0.9, 1.9])
    change_column(copied / LIST, "length", [7, 10, 5])
    found = f"{copied / TOP_VIDEO}: no episode has the pictures from 0.7 to 0.9 s, between episodes 0 and 1."
    assert found in source(copied).describe().notes


def test_totals_that_are_wrong_are_reported(copied: Path) -> None:
    change_info(copied, total_episodes=4)
    assert f"{copied}/meta/info.json: total_episodes is 4, but 3 are listed." in source(copied).describe().notes
