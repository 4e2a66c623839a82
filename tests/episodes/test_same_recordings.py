"""The same episodes of a game, written in each layout by others' libraries, give the same stores.

A video has neither rewards, nor ends, nor further parts. An episode of T actions has T rows, and in Minari's layout one more: what was seen
after the last action.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from game_recordings import Played, play_all, write_clips, write_lerobot, write_minari, write_npz, write_robomimic
from lerobot_files import write_v2, write_v3
from numpy.typing import NDArray

from lamflow.data.store import EpisodeArrays, EpisodeStore
from lamflow.data.windows import labelled_transitions
from lamflow.envs.interface import SPLITS
from lamflow.envs.recorded_settings import RecordedSettings
from lamflow.stages.import_episodes import import_episodes

pytestmark = pytest.mark.slow
Write = Callable[[Path, Sequence[Played]], dict[str, Any]]
RGB = {"codec": "libx264rgb", "pixel_format": "rgb24", "options": {"qp": "0"}}
EXACT: dict[str, Write] = {
    "video": partial(write_clips, **RGB),
    "lerobot-v3-images": partial(write_lerobot, write=write_v3, codec=None),
    "lerobot-v3-video": partial(write_lerobot, write=write_v3, codec="libx264rgb"),
    "lerobot-v2-images": partial(write_lerobot, write=write_v2, codec=None),
    "lerobot-v2-video": partial(write_lerobot, write=write_v2, codec="libx264rgb"),
    "minari-hdf5": partial(write_minari, jpeg=False),
    "minari-arrow": partial(write_minari, jpeg=False, layout="arrow"),
    "robomimic": write_robomimic,
    "npz": write_npz,
}
CONTINUOUS = ("video", "lerobot-v3-images", "minari-hdf5", "robomimic", "npz")
LOSSY: dict[str, tuple[Write, float]] = {
    "video-h264": (partial(write_clips, options={"crf": "18"}), 6.0),
    "video-h264-all-colours": (partial(write_clips, pixel_format="yuv444p", options={"crf": "18"}), 2.5),
    "lerobot-v3-av1": (partial(write_lerobot, write=write_v3, codec="libsvtav1"), 7.0),
    "lerobot-v2-h264": (partial(write_lerobot, write=write_v2, codec="libx264"), 6.0),
    "minari-jpeg": (partial(write_minari, jpeg=True), 8.0),
}
"""With the largest mean error that is allowed, in levels of 255: pictures of 64x64 with sharp edges, whose colours most codecs keep at half
of their size."""
LEVELS = {"train": [2, 3, 5], "validation": [0, 4], "test": [1]}
"""Whatever the layout, the same episodes are drawn for a split."""


@pytest.fixture(scope="module")
def buttons() -> list[Played]:
    return play_all(continuous=False)


@pytest.fixture(scope="module")
def sticks() -> list[Played]:
    return play_all(continuous=True)


@dataclass(frozen=True)
class Imported:
    """What came of recordings: the stores by split, as they were opened and in memory, and what was played."""

    stores: dict[str, EpisodeStore]
    arrays: dict[str, EpisodeArrays]
    played: Sequence[Played]

    def episodes(self) -> Iterator[tuple[Played, EpisodeArrays, slice]]:
        """Each with its rows that have an action."""
        for arrays in self.arrays.values():
            for start, level in zip(arrays.episode_starts.tolist(), arrays.level_seeds, strict=True):
                yield self.played[level], arrays, slice(start, start + self.played[level].length)


def imported(write: Write, played: Sequence[Played], folder: Path) -> Imported:
    root, output = folder / "recordings", folder / "stores"
    root.mkdir(parents=True)
    actions = 15 if played[0].actions.ndim == 1 else None
    splits = {"train": 0.5, "validation": 0.25}
    settings = RecordedSettings.model_validate({"episodes": write(root, played), "splits": splits, "actions": actions})
    paths = {split: output / f"{split}.zarr" for split in SPLITS}
    import_episodes(
        environment=settings.build(name="game").facts(),
        settings=settings.episodes.model_dump(mode="json"),
        files="",
        state_dir=output / "state",
        outputs=paths,
        table=output / "episodes.csv",
    )
    stores = {split: EpisodeStore.open(path, env="game") for split, path in paths.items()}
    return Imported(stores, {split: store.load() for split, store in stores.items()}, played)


def check(layout: str, found: Imported) -> None:
    """All but the frames is as it was played."""
    is_video, has_final = layout.startswith("video"), layout.startswith("minari")
    assert {split: arrays.level_seeds.tolist() for split, arrays in found.arrays.items()} == LEVELS
    for store in found.stores.values():
        assert store.final_observations == has_final and store.recorded == "all"
    for arrays in found.arrays.values():
        lengths = [found.played[level].length + has_final for level in arrays.level_seeds]
        assert np.diff([*arrays.episode_starts, arrays.num_rows]).tolist() == lengths
        assert set(arrays.observations) == ({"frames"} if is_video else {"frames", "state"})
    for episode, arrays, rows in found.episodes():
        assert same_bits(arrays.actions[rows], episode.actions) and arrays.acted[rows].all()
        assert same_bits(arrays.rewards[rows], episode.rewards * (not is_video))
        assert arrays.terminated[rows].any() == (episode.terminated and not is_video)
        assert is_video or same_bits(arrays.observations["state"][rows], episode.state[:-1])
        if has_final:
            assert same_bits(arrays.observations["state"][rows.stop], episode.state[-1])
            assert not arrays.acted[rows.stop]


def check_frames(found: Imported) -> None:
    assert not any("lossy" in store.attributes for store in found.stores.values())
    for episode, arrays, rows in found.episodes():
        assert same_bits(arrays.frames[rows], episode.frames[:-1]) and arrays.frame_tolerance == 0
        assert not found.stores["train"].final_observations or same_bits(arrays.frames[rows.stop], episode.frames[-1])


def same_bits(found: NDArray[Any], expected: NDArray[Any]) -> bool:
    return found.dtype == expected.dtype and found.shape == expected.shape and found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("layout", EXACT)
def test_each_lossless_layout_gives_what_was_played(layout: str, buttons: list[Played], tmp_path: Path) -> None:
    found = imported(EXACT[layout], buttons, tmp_path)
    check(layout, found)
    check_frames(found)


@pytest.mark.parametrize("layout", CONTINUOUS)
def test_continuous_actions_are_the_same_bit_by_bit(layout: str, sticks: list[Played], tmp_path: Path) -> None:
    found = imported(EXACT[layout], sticks, tmp_path)
    check(layout, found)
    check_frames(found)


@pytest.mark.parametrize("layout", LOSSY)
def test_lossy_layouts_keep_all_but_some_colours(layout: str, buttons: list[Played], tmp_path: Path) -> None:
    write, allowed = LOSSY[layout]
    found = imported(write, buttons, tmp_path)
    check(layout, found)
    assert all(store.attributes["lossy"] is True for store in found.stores.values())
    errors: list[float] = []
    for episode, arrays, rows in found.episodes():
        own = error(arrays.frames[rows], episode.frames[:-1])
        assert own < error(arrays.frames[rows], episode.frames[1:]), "pictures stand a row too late"
        assert own < error(arrays.frames[rows][1:], episode.frames[:-2]), "pictures stand a row too early"
        errors += [own] * episode.length
    assert 0 < np.mean(errors) < allowed


def error(frames: NDArray[np.uint8], expected: NDArray[np.uint8]) -> float:
    return float(np.abs(frames.astype(np.float32) - expected).mean())


def test_a_final_observation_makes_a_transition_of_the_last_action(buttons: list[Played], tmp_path: Path) -> None:
    """Without it, nobody knows where the last action of an episode led to."""
    with_final, without = (
        imported(EXACT[layout], buttons, tmp_path / layout).arrays["train"] for layout in ("minari-hdf5", "npz")
    )
    actions = sum(buttons[level].length for level in LEVELS["train"])
    assert len(labelled_transitions(with_final)) == actions
    assert len(labelled_transitions(without)) == actions - len(LEVELS["train"])
