"""Tables that take turns: the order of play, and its end."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from lamflow.envs.interface import Observation, StepResult, VectorEnvironment
from lamflow.envs.presets import preset
from lamflow.play.turns import table_sizes, take_turns


class Told(VectorEnvironment):
    """Logs each step that is asked for."""

    spec = preset("xland-doorkey-5x5")
    num_envs = 1

    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log

    def send(self, actions: NDArray[np.int64]) -> None:
        self.log.append(f"{self.name} steps")

    def receive(self) -> StepResult:
        no = np.zeros(1, np.bool_)
        seen = Observation({"frames": np.zeros((1, 0), np.uint8)})
        return StepResult(seen, None, np.zeros(1, np.float32), no, no, np.zeros(1, np.int64))


class Countdown:
    """Tells its name and number for each of ``count`` steps; logs what is asked of it."""

    def __init__(self, name: str, count: int, log: list[str]) -> None:
        self.name, self.count, self.log = name, count, log
        self.environment = Told(name, log)

    @property
    def running(self) -> bool:
        return self.count > 0

    def act(self) -> NDArray[np.int64]:
        self.log.append(f"{self.name} acts")
        return np.zeros(1, np.int64)

    def note(self) -> None:
        self.log.append(f"{self.name} notes")

    def receive(self, result: StepResult) -> list[str]:
        self.log.append(f"{self.name} receives")
        self.count -= 1
        return [f"{self.name}{self.count}"]


def test_each_table_steps_before_the_other_receives() -> None:
    log: list[str] = []
    assert list(take_turns([Countdown("a", 1, log), Countdown("b", 3, log)])) == ["a0", "b2", "b1", "b0"]
    turn = {name: [f"{name} {does}" for does in ("acts", "steps", "notes")] for name in "ab"}
    assert log == [*turn["a"], *turn["b"], "a receives", *["b receives", *turn["b"]] * 2, "b receives"]


def test_a_table_at_which_nobody_plays_is_left_alone() -> None:
    log: list[str] = []
    assert list(take_turns([Countdown("a", 0, log)])) == [] and log == []


@pytest.mark.parametrize("slots, sizes", [(1, [1]), (2, [1, 1]), (5, [2, 2]), (512, [256, 256])])
def test_tables_are_of_one_size(slots: int, sizes: list[int]) -> None:
    assert table_sizes(slots) == sizes
