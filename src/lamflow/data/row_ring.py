"""A ring of rows in memory: while one half is used, threads read the next block of segments into the other.

Shapes: B batch, K rows wanted for each of a batch, S segments.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamflow.data.chunk_reader import Rows
from lamflow.data.row_memory import take_rows
from lamflow.data.segments import AtRandom, Segments


class Blocks(Protocol):
    """What is read into a half of the ring, block by block, and in which order the rows of a block are used."""

    def segments_of(self, number: int) -> NDArray[np.int64]: ...

    def rows_of(self, number: int) -> NDArray[np.int64]: ...


@dataclass
class _Half:
    """What is, or will be, in one half of the ring: block ``number``."""

    number: int
    order: Future[NDArray[np.int64]]
    fills: list[Future[None]]
    segments: Tensor
    shifts: Tensor
    """What is to be added to a row number of each of ``segments``: the row's place in the ring."""
    rows: Tensor | None = None
    """Those of ``order`` on the ring's device, when they are there."""


@dataclass(frozen=True)
class Place:
    """Where rows are kept: in ``columns`` [M, ...] by name; ``shifts`` int64 [S]: for each segment, what is to be added to a row number to
    find the row in an array that begins ``first`` rows before these columns."""

    columns: Mapping[str, Tensor]
    shifts: Tensor
    first: int = 0

    @classmethod
    def make(cls, readers: Mapping[str, Rows], rows: int, segments: int, device: torch.device) -> Place:
        """A new one."""
        return cls(empty_columns(readers, rows, device), torch.zeros(segments, dtype=torch.int64, device=device))


def empty_columns(readers: Mapping[str, Rows], rows: int, device: torch.device) -> dict[str, Tensor]:
    """Room for so many rows of each reader."""
    return {
        name: torch.empty((rows, *reader.spec.row_shape), dtype=getattr(torch, reader.spec.dtype), device=device)
        for name, reader in readers.items()
    }


def rows_of_ring(segments: Segments, segments_a_block: int) -> int:
    """How many rows a ring keeps."""
    return 2 * segments_a_block * segments.capacity


class RowRing:
    """A ``RowMemory`` of the two blocks that were loaded last; a context manager, whose threads end with it.

    The tensors lie on ``device``. A GPU's are written by a stream of their own from pinned memory; on a CPU the threads decode
    into the ring itself. What a reader raises is raised by ``load``. ``place``: where others have made room for it.
    """

    def __init__(
        self,
        readers: Mapping[str, Rows],
        segments: Segments,
        blocks: Blocks,
        *,
        segments_a_block: int,
        device: torch.device,
        num_threads: int,
        place: Place | None = None,
    ) -> None:
        self._readers = readers
        self._segments = segments
        self._blocks = blocks
        self._slots = segments_a_block
        self._device = device
        if place is None:
            place = Place.make(readers, rows_of_ring(segments, segments_a_block), segments.count, device)
        self._columns, self._shifts, self._first = place.columns, place.shifts, place.first
        self._halves: list[_Half | None] = [None, None]
        self._latest = -1
        self._pool = ThreadPoolExecutor(num_threads, thread_name_prefix="row-reader")
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._staging = threading.local()

    def __enter__(self) -> RowRing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def request(self, number: int) -> None:
        """Begin to read block ``number`` in place of the one before the last, which must not be used any more."""
        half = self._halves[number % 2]
        if half is None or half.number != number:
            if half is not None:
                futures: list[Future[Any]] = [half.order, *half.fills]
                for future in futures:
                    future.cancel()
                wait(futures)
            self._halves[number % 2] = self._begin(number)

    def load(self, number: int) -> Tensor:
        """The rows of block ``number`` int64, in their order; when it returns, ``take`` knows them."""
        self.request(number)
        half = self._halves[number % 2]
        assert half is not None
        if self._latest != number:
            for future in half.fills:
                future.result()
            # Also when the block had been loaded before: one that was loaded since may hold some of its segments.
            self._shifts[half.segments] = half.shifts
            self._latest = number
        if half.rows is None:
            half.rows = torch.from_numpy(half.order.result()).to(self._device)
        return half.rows

    def take(self, name: str, wanted_BK: Tensor, rows_B: Tensor) -> Tensor:
        shifts = self._shifts[rows_B // self._segments.length]
        return take_rows(self._columns[name], wanted_BK + shifts[:, None])

    def _begin(self, number: int) -> _Half:
        segments = self._blocks.segments_of(number)
        slots = (number % 2 * self._slots + np.arange(len(segments))) * self._segments.capacity
        firsts = np.array([self._segments.span(segment)[0] for segment in segments.tolist()])
        # What was gathered from this half until now, the copies must wait for.
        used = torch.cuda.current_stream(self._device).record_event() if self._copies else None
        return _Half(
            number=number,
            order=self._pool.submit(self._blocks.rows_of, number),
            fills=[
                self._pool.submit(self._fill, slot, segment, used)
                for slot, segment in zip(slots.tolist(), segments.tolist(), strict=True)
            ],
            segments=torch.from_numpy(segments).to(self._device),
            shifts=torch.from_numpy(self._first + slots - firsts).to(self._device),
        )

    def _fill(self, place: int, segment: int, used: torch.cuda.Event | None) -> None:
        """Read a segment to the rows of the ring from ``place`` on."""
        start, stop = self._segments.span(segment)
        for name, reader in self._readers.items():
            target = self._columns[name][place : place + stop - start]
            if self._copies is None:
                reader.read(start, stop, target.numpy())
                continue
            with torch.cuda.stream(self._copies):
                staged = self._pinned(name)[: stop - start]
                reader.read(start, stop, staged.numpy())
                assert used is not None
                self._copies.wait_event(used)
                target.copy_(staged, non_blocking=True)
                copied = torch.cuda.Event(blocking=True)
                copied.record(self._copies)
            copied.synchronize()

    def _pinned(self, name: str) -> Tensor:
        """This thread's buffer for a segment of a column."""
        buffers: dict[str, Any] = self._staging.__dict__
        if name not in buffers:
            column = self._columns[name]
            shape = (self._segments.capacity, *column.shape[1:])
            buffers[name] = torch.empty(shape, dtype=column.dtype, pin_memory=True)
        found: Tensor = buffers[name]
        return found


class BlockStream:
    """Endless batches of the rows of ``order``, whose blocks ``ring`` holds: each row once an epoch.

    The batch of a step depends on the order and the step alone, so training resumes exactly at any step. A batch at the end of a
    block is filled from the next one. What ``ring`` holds when ``batch`` returns it holds until the next call.
    """

    def __init__(self, order: AtRandom, ring: RowRing, batch_size: int) -> None:
        assert 0 < batch_size <= order.fewest_rows + 1, "a batch lies in two blocks at most"
        self._order = order
        self._ring = ring
        self._batch_size = batch_size

    def batch(self, step: int) -> Tensor:
        """int64 [B]: the rows of step ``step`` (0, 1, ...)."""
        return self.between(step * self._batch_size, (step + 1) * self._batch_size)

    def between(self, start: int, stop: int) -> Tensor:
        """int64: the rows from one position (0, 1, ...) through all epochs to another, which is above it by a batch at most."""
        first, last = self._order.block_at(start), self._order.block_at(stop - 1)
        self._ring.request(first)
        self._ring.request(first + 1)
        parts = []
        for number in range(first, last + 1):
            begin = self._order.start_of(number)
            parts.append(self._ring.load(number)[max(0, start - begin) : stop - begin])
        return torch.cat(parts)
