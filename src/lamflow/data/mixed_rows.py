"""Batches of several members of a union, each by its share, from a window of memory that they divide.

Shapes: B batch, W rows wanted for each of a batch, L members, S segments. Row numbers are int64, through all members.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamflow.data.chunk_reader import Rows
from lamflow.data.row_memory import RowMemory, take_rows
from lamflow.data.row_ring import BlockStream, Place, RowRing, empty_columns, rows_of_ring
from lamflow.data.segments import AtRandom, Segments
from lamflow.data.shares import BatchShares, MemberShares
from lamflow.data.windows import TransitionStream

_MEMBER_STREAM: Final = 5_000_039
"""Keeps the orders of the members' rows apart."""


class RowOrder(Protocol):
    """An endless sequence of rows, each once an epoch."""

    def between(self, start: int, stop: int) -> Tensor: ...


def rows_of_members(rows: Tensor, members: MemberShares) -> list[tuple[int, NDArray[np.int64]]]:
    """The members that have some of ``rows``, each with its own, ascending."""
    found = np.sort(rows.cpu().numpy())
    of_row = members.of(found)
    return [(int(member), found[of_row == member]) for member in np.unique(of_row)]


def seed_of(seed: int, member: int) -> int:
    """Of the order of a member's rows."""
    return seed + _MEMBER_STREAM * (member + 1)


class MixedStream:
    """Endless batches of the rows of ``sequences``, one per member, by ``shares``; each row of a member once an epoch of its own."""

    def __init__(self, sequences: Sequence[RowOrder], shares: BatchShares) -> None:
        self._sequences = sequences
        self._shares = shares

    def batch(self, step: int) -> Tensor:
        """int64 [B]: the rows of step ``step`` (0, 1, ...), one member after the other."""
        spans = self._shares.spans(step)
        return torch.cat(
            [
                rows.between(start, stop)
                for rows, (start, stop) in zip(self._sequences, spans, strict=True)
                if stop > start
            ]
        )


def mixed_in_memory(rows: Tensor, members: MemberShares, batch_size: int, seed: int) -> MixedStream:
    """Of ``rows`` that are all in memory."""
    parts = rows_of_members(rows, members)
    sequences = [
        TransitionStream(torch.from_numpy(own).to(rows.device), batch_size, seed_of(seed, member))
        for member, own in parts
    ]
    return MixedStream(sequences, BatchShares(members.shares[[member for member, _ in parts]], batch_size, seed))


@dataclass(frozen=True)
class Lane:
    """The part of the memory that one member has: for its ``rows`` int64, in ``segments`` of the whole; all of them at once (``held``, its
    first row and one past the last), or blocks of ``segments_a_block`` in a ring, in the ``order``."""

    segments: Segments
    segments_a_block: int
    order: AtRandom
    held: tuple[int, int] | None

    @property
    def num_rows(self) -> int:
        """Rows in memory."""
        if self.held is not None:
            return self.held[1] - self.held[0]
        return rows_of_ring(self.segments, self.segments_a_block)


class MixedMemory(RowMemory):
    """Rows of all lanes in one array per column, so that a batch of many members is gathered at once."""

    def __init__(
        self, lanes: Sequence[Lane], readers: Mapping[str, Rows], starts: NDArray[np.int64], device: torch.device
    ) -> None:
        """``starts`` int64 [L]: the first row that may be of each lane."""
        self._columns = empty_columns(readers, sum(lane.num_rows for lane in lanes), device)
        self._starts = torch.from_numpy(starts).to(device)
        self._lengths = torch.tensor([lane.segments.length for lane in lanes], device=device)
        most = max(lane.segments.count for lane in lanes)
        self._shifts_LS = torch.zeros((len(lanes), most), dtype=torch.int64, device=device)
        self._firsts = np.cumsum([0, *(lane.num_rows for lane in lanes)]).tolist()

    def place(self, lane: int) -> Place:
        """The part of one lane."""
        first, stop = self._firsts[lane : lane + 2]
        return Place({name: column[first:stop] for name, column in self._columns.items()}, self._shifts_LS[lane], first)

    def take(self, name: str, wanted_BW: Tensor, rows_B: Tensor) -> Tensor:
        lanes = torch.searchsorted(self._starts, rows_B, right=True) - 1
        shifts = self._shifts_LS[lanes, rows_B // self._lengths[lanes]]
        return take_rows(self._columns[name], wanted_BW + shifts[:, None])


@contextmanager
def mixed_lanes(
    lanes: Sequence[Lane],
    orders: Sequence[tuple[NDArray[np.int64], int]],
    readers: Mapping[str, Rows],
    *,
    starts: NDArray[np.int64],
    shares: BatchShares,
    device: torch.device,
    num_threads: int,
) -> Iterator[tuple[MixedMemory, MixedStream]]:
    """The memory of all lanes, and batches of their rows. ``orders``: the rows of each lane and the seed of their order; ``num_threads``
    read for each lane that is not held, and end with the context."""
    memory = MixedMemory(lanes, readers, starts, device)
    sequences: list[RowOrder] = []
    with ExitStack() as rings:
        for number, (lane, (rows, seed), most) in enumerate(zip(lanes, orders, shares.most.tolist(), strict=True)):
            place = memory.place(number)
            if lane.held is not None:
                _hold(place, readers, *lane.held)
                sequences.append(TransitionStream(torch.from_numpy(rows).to(device), most, seed))
                continue
            ring = RowRing(
                readers,
                lane.segments,
                lane.order,
                segments_a_block=lane.segments_a_block,
                device=device,
                num_threads=num_threads,
                place=place,
            )
            sequences.append(BlockStream(lane.order, rings.enter_context(ring), most))
        yield memory, MixedStream(sequences, shares)


def _hold(place: Place, readers: Mapping[str, Rows], start: int, stop: int) -> None:
    """Read the rows from ``start`` to ``stop`` - 1 into their place."""
    for name, reader in readers.items():
        place.columns[name].copy_(torch.from_numpy(reader.read(start, stop)))
    place.shifts.fill_(place.first - start)
