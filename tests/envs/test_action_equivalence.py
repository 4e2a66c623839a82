"""Which actions do the same thing: the presets's table is what every game's simulator shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lamflow.envs import action_equivalence
from lamflow.envs.action_equivalence import classes_of, describe, told_apart
from lamflow.envs.presets import preset
from lamflow.envs.procgen_presets import PROCGEN_GAMES

STATES = {"coinrun": 150, "ninja": 60}
"""States of random play until all classes are told apart; where none is named, ``FEW``."""
FEW = 30


@pytest.mark.slow
@pytest.mark.parametrize("game", PROCGEN_GAMES)
def test_the_presets_classes_are_those_that_the_simulator_shows(game: str) -> None:
    spec = preset(f"procgen-{game}")
    counts = told_apart(spec, STATES.get(game, FEW))
    same = np.equal.outer(spec.class_of_action, spec.class_of_action)
    assert not counts[same].any(), "actions of one class never differ"
    assert counts[~same].all(), "actions of different classes differ somewhere"
    assert set(classes_of(counts)) == set(spec.action_classes)


@pytest.mark.parametrize("game", PROCGEN_GAMES)
def test_the_documented_table_is_the_presets(game: str) -> None:
    text = Path(__file__).parents[2].joinpath("docs/environments.md").read_text()
    facts = PROCGEN_GAMES[game]
    easy, hard = (f"{low:g} to {high:g}" for low, high in (facts.easy, facts.hard))
    assert f"| {game} | {describe(facts.same)} | {facts.max_steps} | {easy} | {hard} |" in text


def test_classes_are_actions_that_were_never_told_apart() -> None:
    counts = np.array([[0, 0, 1, 3], [0, 0, 2, 1], [1, 2, 0, 1], [3, 1, 1, 0]])
    assert classes_of(counts) == ((0, 1),)
    assert classes_of(np.zeros((3, 3), np.int64)) == ((0, 1, 2),)
    assert classes_of(1 - np.eye(3, dtype=np.int64)) == ()


def test_the_program_prints_a_line_a_game_and_says_where_the_presets_differ(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(action_equivalence, "MEASURED_STATES", FEW)
    action_equivalence.main(["maze", "starpilot"])
    monkeypatch.setattr(action_equivalence, "MEASURED_STATES", 1)
    action_equivalence.main(["coinrun"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f"{game}: {describe(PROCGEN_GAMES[game].same)}" for game in ("maze", "starpilot")]
    assert "(the presets: none = D = A = W = S = Q = E)" in lines[2]
