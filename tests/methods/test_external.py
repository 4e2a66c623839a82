"""Agents that somebody else has made play as others do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from lamflow.envs.interface import VectorEnvironment
from lamflow.evaluation.rollouts import RolloutResult, roll_out
from lamflow.methods.acting import Acts
from lamflow.methods.jobs import Job
from lamflow.methods.settings import method_settings
from lamflow.policies.members import Member
from lamflow.stages.code import method_code

THEIRS = """
made = []

class Clockwise:
    # Forward, until its way was blocked: it remembers the frame before.
    def __init__(self):
        made.append(self)
        self.before = None

    def reset(self):
        self.before = None

    def __call__(self, observation):
        frame = observation["frames"].tobytes()
        blocked, self.before = frame == self.before, frame
        return 1 if blocked else 0

def make_clockwise():
    return Clockwise()

kept = Clockwise()

def make_kept():
    return kept

def make_forward():
    return lambda observation: 0

def make_wrong():
    return lambda observation: 17

def make_nothing():
    return None
"""


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "their_agents.py"
    path.write_text(THEIRS)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield path
    sys.modules.pop("their_agents", None)


def rollouts(grid_world: Any, name: str, levels: int = 12, slots: int = 4) -> RolloutResult:
    method: Acts = method_settings({"kind": "external", "agent": f"their_agents:{name}"}).build()
    members, agent = method.agent(Job("mine", grid_world.spec, 0, {}), "sample")
    assert members == [Member("0", 0)]

    def make(count: int, stream: Iterator[int]) -> VectorEnvironment:
        world: VectorEnvironment = grid_world(count)
        return world

    return roll_out(agent, make, np.tile(np.arange(slots), levels // slots), num_slots=slots)


def test_an_agent_without_a_state_plays_all_levels(theirs: Path, grid_world: Callable[..., Any]) -> None:
    result = rollouts(grid_world, "make_forward")
    assert len(result.returns) == 12 and (result.lengths == 40).sum() > 0


def test_an_agent_with_a_state_is_one_per_episode(theirs: Path, grid_world: Callable[..., Any]) -> None:
    """So episodes that run beside each other end as each does alone."""
    together = rollouts(grid_world, "make_clockwise")
    assert len(sys.modules["their_agents"].made) >= 12
    for level in range(4):
        world, agent = grid_world(1), sys.modules["their_agents"].Clockwise()
        seen, length, total = world.reset(np.array([level])), 0, 0.0
        while True:
            result = world.step(np.array([agent({name: part[0] for name, part in seen.parts.items()})]))
            seen, length, total = result.observation, length + 1, total + float(result.rewards[0])
            if result.terminated[0] or result.truncated[0]:
                break
        rows = together.level_ids == level
        assert set(together.lengths[rows].tolist()) == {length} and set(together.returns[rows].tolist()) == {total}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("make_kept", "answered the same agent twice, which has a state"),
        (
            "make_wrong",
            "methods.mine.agent: their_agents:make_wrong chose 17 in xland-empty-random-8x8-full, expected an integer from 0 to 5",
        ),
        ("make_nothing", "answered None, expected a callable"),
        ("make_other", "methods.mine.agent: found no make_other in their_agents"),
    ],
)
def test_what_is_no_agent_is_refused(name: str, said: str, theirs: Path, grid_world: Callable[..., Any]) -> None:
    with pytest.raises(ValueError) as caught:
        rollouts(grid_world, name)
    assert said in str(caught.value)


def test_a_package_that_is_not_there_is_refused_when_a_run_is_planned() -> None:
    with pytest.raises(ValidationError, match="found no module nobody_has_it"):
        method_settings({"kind": "external", "agent": "nobody_has_it:make"})


def test_a_changed_agent_plays_again(theirs: Path, grid_world: Any, tmp_path: Path) -> None:
    settings = method_settings({"kind": "external", "agent": "their_agents:make_forward"})
    code = method_code("lamflow.stages.evaluate_agents", settings, "agent", grid_world.spec)
    assert "their_agents" in code.components
    others = method_code(
        "lamflow.stages.evaluate_agents", method_settings({"kind": "random"}), "agent", grid_world.spec
    )
    assert "their_agents" not in others.components and code.digest != others.digest
