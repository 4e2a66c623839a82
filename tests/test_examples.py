"""The toy game of docs/your-data.md, and its configuration."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lamflow.episodes.fit import FrameFit
from lamflow.episodes.video_settings import VideoSettings
from lamflow.loaded.inspection import Inspected, told

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
import toy_game

ROOT = Path(__file__).parents[1]


def corners(frames: NDArray[np.uint8]) -> NDArray[Any]:
    """int64 [n, 2]: row and column of the red block's upper left corner."""
    found = [np.argwhere((frame == toy_game.RED).all(axis=-1)) for frame in frames]
    return np.array([places.min(axis=0) for places in found])


def test_the_player_moves_as_the_actions_say() -> None:
    frames, actions = toy_game.play(60, np.random.default_rng(0))
    assert frames.shape == (61, 64, 64, 3) and set(actions) == set(range(5))
    assert np.diff(corners(frames), axis=0).tolist() == toy_game.MOVES[actions].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("codec", list(toy_game.CODECS))
def test_clips_are_what_was_played(tmp_path: Path, codec: str) -> None:
    clips, table = tmp_path / "clips", tmp_path / "actions.csv"
    played = toy_game.write_game(clips, table, episodes=3, labelled=1, steps=10, codec=codec)
    source = VideoSettings(path=str(clips), actions=str(table)).build(fit=FrameFit())
    described = source.describe()
    assert described.lossy == (codec != "lossless") and [entry.labelled for entry in described.episodes] == [
        True,
        False,
        False,
    ]
    assert "; known in 1 of 3 episodes" in told(clips, Inspected(source.settings, described))
    (piece,) = next(iter(source.episodes())).pieces
    frames, actions = toy_game.play(10, np.random.default_rng(0))
    assert np.abs(piece.observations["frames"].astype(int) - frames).mean() < (6 if described.lossy else 1e-9)
    names = [described.action_names[action] for action in piece.actions[:10]]
    assert names == [toy_game.ACTIONS[action] for action in actions] and played["clip000"].tolist() == actions.tolist()
    assert piece.labelled.tolist() == [True] * 10 + [False]


def test_the_page_shows_the_configuration_that_is_there() -> None:
    page = ROOT.joinpath("docs", "your-data.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^```yaml\n(experiment:.*?)^```$", page, flags=re.DOTALL | re.MULTILINE)
    written = ROOT.joinpath("examples", "clips.yaml").read_text(encoding="utf-8")
    assert shown == "".join(line for line in written.splitlines(keepends=True) if not line.startswith("#"))
