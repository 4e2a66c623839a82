"""Tables that take turns: the order of play, its end, and that nothing stays open."""

from __future__ import annotations

import pytest

from lamflow.envs.turns import table_sizes, take_turns


class Countdown:
    """Tells its name and number for each of ``count`` games; logs what is asked of it."""

    def __init__(self, name: str, count: int, log: list[str]) -> None:
        self.name, self.count, self.log = name, count, log

    @property
    def running(self) -> bool:
        return self.count > 0

    def act(self) -> None:
        self.log.append(f"{self.name} acts")

    def receive(self) -> list[str]:
        self.log.append(f"{self.name} receives")
        self.count -= 1
        return [f"{self.name}{self.count}"]

    def close(self) -> None:
        self.log.append(f"{self.name} closes")


def test_each_table_acts_before_the_other_receives() -> None:
    log: list[str] = []
    assert list(take_turns([Countdown("a", 1, log), Countdown("b", 3, log)])) == ["a0", "b2", "b1", "b0"]
    shared = ["a acts", "b acts", "a receives", "b receives", "b acts"]
    assert log == [*shared, "b receives", "b acts", "b receives", "a closes", "b closes"]


def test_tables_are_closed_when_nobody_asks_for_more() -> None:
    log: list[str] = []
    turns = take_turns([Countdown("a", 2, log), Countdown("b", 2, log)])
    assert next(turns) == "a1"
    turns.close()
    assert log[-2:] == ["a closes", "b closes"]


@pytest.mark.parametrize("slots, sizes", [(1, [1]), (2, [1, 1]), (5, [2, 2]), (512, [256, 256])])
def test_tables_are_of_one_size(slots: int, sizes: list[int]) -> None:
    assert table_sizes(slots) == sizes
