"""Tables that take turns: while the simulators of one step, the actions of the other are chosen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

NUM_TABLES = 2
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Table(Protocol[T_co]):
    """Slots of an environment that are stepped together, and who acts in them."""

    @property
    def running(self) -> bool:
        """Whether an episode goes on here."""
        ...

    def act(self) -> None:
        """Choose the next actions and send them to the simulators."""
        ...

    def receive(self) -> Iterable[T_co]:
        """What came of the actions: whatever is to be told of the episodes that they ended."""
        ...

    def close(self) -> None: ...


def table_sizes(num_slots: int) -> list[int]:
    """The slots of each table, at most ``num_slots`` together: equal, so that tables share what is compiled for a size."""
    tables = min(NUM_TABLES, num_slots)
    return [num_slots // tables] * tables


def take_turns(tables: Sequence[Table[T]]) -> Iterator[T]:
    """Play until no table is running, in an order that depends on no timing; the tables are closed afterwards."""
    try:
        for table in tables:
            table.act()
        while any(table.running for table in tables):
            for table in tables:
                if table.running:
                    yield from table.receive()
                    if table.running:
                        table.act()
    finally:
        for table in tables:
            table.close()
