"""The one loop over the steps of vector environments: tables of slots take turns.

While the simulators of one table step, the actions of the other are chosen. Nobody else steps an environment, but for what stands around
one in ``lamflow.envs``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from numpy.typing import NDArray

from lamflow.envs.interface import StepResult, VectorEnvironment

NUM_TABLES = 2
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Table(Protocol[T_co]):
    """Slots of an environment that are stepped together, and who acts in them."""

    @property
    def environment(self) -> VectorEnvironment: ...

    @property
    def running(self) -> bool:
        """Whether more is to be played here."""
        ...

    def act(self) -> NDArray[Any]:
        """The next actions [B, ...] of all slots."""
        ...

    def note(self) -> None:
        """Keep what was seen and done; called when the actions have been sent, so that simulators with threads go on meanwhile."""
        ...

    def receive(self, result: StepResult) -> Iterable[T_co]:
        """What came of the actions: whatever is to be told of the episodes that they ended."""
        ...


def table_sizes(num_slots: int) -> list[int]:
    """The slots of each table, at most ``num_slots`` together: equal, so that tables share what is compiled for a size."""
    tables = min(NUM_TABLES, num_slots)
    return [num_slots // tables] * tables


def take_turns(tables: Sequence[Table[T]]) -> Iterator[T]:
    """Play until no table is running, in an order that depends on no timing. The environments stay open."""
    for table in tables:
        _send(table)
    while any(table.running for table in tables):
        for table in tables:
            if table.running:
                yield from table.receive(table.environment.receive())
                _send(table)


def _send(table: Table[T]) -> None:
    if table.running:
        table.environment.send(table.act())
        table.note()
