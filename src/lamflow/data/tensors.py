"""A split as learners use it: small columns as tensors on their device, frames in memory or streamed from the store.

Shapes: N rows, B batch, K frames of context.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from lamflow.data.chunk_reader import RowReader
from lamflow.data.row_memory import HeldRows, RowMemory
from lamflow.data.row_ring import BlockStream, RowRing
from lamflow.data.scratch import on_scratch
from lamflow.data.segments import AtRandom, InOrder, Segments
from lamflow.data.store import NO_ACTION, EpisodeArrays, EpisodeStore
from lamflow.data.windows import TransitionStream, context_rows, starts_of_rows, transition_rows, window_rows
from lamflow.training.precision import default_device

SEGMENT_BYTES: Final = 24 << 20
"""Most bytes of a segment, which one thread reads in one go: about 15 ms."""
MAX_SEGMENT_ROWS: Final = 32_768
SEGMENTS_A_HALF: Final = 8
"""A half of the ring holds at least so many segments (where a chunk is not too large for that), so that its rows are of many
episodes. With each segment, the chunks before and behind it are decoded for one row: the fewer segments, the better."""
NUM_READERS: Final = 2
"""Threads that read segments. One decodes some 150,000 frames of 64x64 pixels a second."""

INFERENCE_BATCH: Final = {"cpu": 256, "cuda": 1024}
"""Rows that a network answers at once outside of training: a context of frames is 12 kB a row, LAPO's first layer 1 MB."""


def inference_batches(rows: Tensor) -> tuple[Tensor, ...]:
    """``rows`` [M, ...] in parts of at most ``INFERENCE_BATCH``."""
    return rows.split(INFERENCE_BATCH[rows.device.type])


@dataclass(frozen=True)
class _Source:
    """Where the columns that are not in memory are read from; ``before``, ``after``: see ``Segments``."""

    readers: Mapping[str, RowReader]
    window_bytes: int
    before: int
    after: int

    @property
    def row_bytes(self) -> int:
        return sum(reader.row_bytes for reader in self.readers.values())

    def segments(self, num_rows: int, most_bytes: int) -> Segments:
        """Segments of whole chunks of frames, of at most ``most_bytes`` if a chunk is not larger."""
        chunk = self.readers["observations"].chunk_rows
        length = max(1, min(most_bytes // self.row_bytes, MAX_SEGMENT_ROWS) // chunk) * chunk
        return Segments(num_rows, min(length, num_rows), self.before, self.after)


class EpisodeTensors:
    """``proprioception`` uint8 [N, P], ``task`` uint8 [N, G], ``actions`` and ``starts`` (first row of each row's episode) int64 [N],
    all on ``device``; ``rows`` int64 [M]: those with an action and a next frame.

    Frames, and other wide columns, are resident where they fit into a window of memory. Where they do not, what is made of them
    is asked of the data that ``stream``, ``sections`` or ``part`` answer, for their rows. That works for resident data too,
    so learners need not know.
    """

    def __init__(self, arrays: EpisodeArrays, device: torch.device | None = None) -> None:
        self.device = device or default_device()
        self.proprioception = torch.from_numpy(arrays.proprioception).to(self.device)
        self.task = torch.from_numpy(arrays.task).to(self.device)
        self.actions = torch.from_numpy(arrays.actions).to(self.device)
        self.starts = starts_of_rows(arrays).to(self.device)
        self.rows = transition_rows(arrays).to(self.device)
        self._narrow = {"actions": self.actions}
        frames = torch.from_numpy(arrays.observations).to(self.device)
        self._memory: RowMemory | None = HeldRows({"observations": frames})
        self._source: _Source | None = None

    @classmethod
    def open(
        cls,
        store: EpisodeStore,
        *,
        window_gib: float,
        context: int = 1,
        horizon: int = 1,
        columns: Mapping[str, RowReader] | None = None,
        device: torch.device | None = None,
    ) -> EpisodeTensors:
        """The split in ``store``, of which at most about ``window_gib`` GiB of frames are in memory at once.

        ``context``: the most frames of a context that will be asked for; ``horizon``: the most frames ahead of its row that a
        window will reach. ``columns``: readers of further wide columns of the same rows (latents), which count in the
        window. ValueError names a damaged file.
        """
        data = cls(store.load(frames=False), device)
        readers = {"observations": store.rows("observations"), **(columns or {})}
        for reader in readers.values():
            assert reader.num_rows == store.num_rows, f"{reader.folder} has the rows of {store.path}"
        data._source = _Source(readers, int(window_gib * 2**30), before=max(1, context - 1), after=horizon)
        if store.num_rows * data._source.row_bytes <= data._source.window_bytes:
            whole = {name: reader.read(0, reader.num_rows) for name, reader in readers.items()}
            data._memory = HeldRows({name: torch.from_numpy(values).to(data.device) for name, values in whole.items()})
        else:
            data._memory = None
        return data

    @property
    def is_resident(self) -> bool:
        """Whether windows, contexts and columns can be asked of this data itself."""
        return self._memory is not None

    @property
    def action_rows(self) -> Tensor:
        """int64: rows with an action, ascending; with or without a next frame."""
        return torch.nonzero(self.actions != NO_ACTION)[:, 0]

    def windows(self, rows: Tensor, ahead: Tensor | None = None) -> Tensor:
        """(o_{t-1}, o_t, o_{t+1}) at ``rows`` int64 [B]: uint8 [B, 3, *frame_shape].

        With ``ahead`` int64 [B] also o_{t+k}, k frames ahead, as a fourth frame: uint8 [B, 4, *frame_shape].
        """
        rows = rows.to(self.device)
        wanted = window_rows(rows, self.starts)
        if ahead is not None:
            wanted = torch.cat([wanted, (rows + ahead.to(self.device))[:, None]], dim=1)
        return self._held.take("observations", wanted, rows)

    def contexts(self, rows: Tensor, num_frames: int) -> Tensor:
        """o_{t-K+1} .. o_t at ``rows`` int64 [B]: uint8 [B, K, *frame_shape]. An episode's first frame is repeated before its start."""
        rows = rows.to(self.device)
        return self._held.take("observations", context_rows(rows, self.starts, num_frames), rows)

    def column(self, name: str, rows: Tensor) -> Tensor:
        """The column ``name`` (``actions``, one ``with_column``, or one of those given to ``open``) at ``rows`` int64 [B]: [B, ...]."""
        rows = rows.to(self.device)
        if name in self._narrow:
            return self._narrow[name][rows]
        return self._held.take(name, rows[:, None], rows)[:, 0]

    def with_column(self, name: str, values_N: Tensor) -> EpisodeTensors:
        """The same data with another small column [N, ...]."""
        data = copy.copy(self)
        data._narrow = {**self._narrow, name: values_N.to(self.device)}
        return data

    def sample(self, count: int) -> Tensor:
        """At most ``count`` of ``rows``, always the same ones."""
        order = torch.randperm(len(self.rows), generator=torch.Generator().manual_seed(0))
        return self.rows[order[:count].to(self.device)]

    def part(self, rows: Tensor, horizon: int = 1) -> EpisodeTensors:
        """The data with, in memory, all that is gathered for ``rows`` int64 [M], up to ``horizon`` frames ahead of them; resident
        data itself."""
        if self.is_resident:
            return self
        source = self._streamed
        reach = np.arange(-source.before, horizon + 1)
        near = rows.cpu().numpy()[:, None] + reach
        kept = np.unique(near.clip(0, len(self.actions) - 1))
        found = {name: torch.from_numpy(reader.read_rows(kept)) for name, reader in source.readers.items()}
        return self._with(
            HeldRows(
                {name: values.to(self.device) for name, values in found.items()},
                torch.from_numpy(kept).to(self.device),
            )
        )

    @contextmanager
    def stream(self, rows: Tensor, batch_size: int, seed: int) -> Iterator[RowStream]:
        """Endless batches of ``rows`` int64 [M], each row once an epoch, and the data to gather them from; a context manager.

        A step's batch is a function of the arguments, the window and the step. Resident data: see ``TransitionStream``. A larger
        split: see ``AtRandom``; threads read it, and end with the context. ValueError when the window is too small for a
        batch, and, from ``batch``, naming a damaged file.
        """
        if self.is_resident or self._fit(rows):
            held = self if self.is_resident else self.part(rows, self._streamed.after)
            yield RowStream(held, TransitionStream(rows.to(self.device), batch_size, seed).batch)
            return
        segments, segments_a_half = self._plan()
        order = AtRandom(rows.cpu().numpy(), segments, segments_a_half, seed)
        if batch_size > order.fewest_rows:
            raise ValueError(
                f"found a window of {self._streamed.window_bytes / 2**30:.3g} GiB, a half of which may hold only "
                f"{order.fewest_rows} of the {len(rows)} rows to draw, expected at least the batch of {batch_size}: raise "
                "`training.window_gib`"
            )
        with self._ring(segments, order, segments_a_half, again_and_again=True) as ring:
            yield RowStream(self._with(ring), BlockStream(order, ring, batch_size).batch)

    def sections(self, rows: Tensor | None = None) -> Iterator[Section]:
        """All rows of the split in order, section by section; the next is read while one is used.

        ``rows`` int64, ascending: those of interest (default: ``self.rows``). Resident data is one section.
        """
        rows = self.rows if rows is None else rows
        if self.is_resident:
            yield Section(self, rows, 0, len(self.actions))
            return
        segments = self._streamed.segments(len(self.actions), SEGMENT_BYTES)
        order = InOrder(rows.cpu().numpy(), segments, NUM_READERS)
        with self._ring(segments, order, NUM_READERS) as ring:
            data = self._with(ring)
            for number in range(order.num_blocks):
                section = ring.load(number)
                if number + 1 < order.num_blocks:
                    ring.request(number + 1)
                block = order.segments_of(number)
                stop = min((int(block[-1]) + 1) * segments.length, len(self.actions))
                yield Section(data, section, int(block[0]) * segments.length, stop)

    @property
    def _held(self) -> RowMemory:
        assert self._memory is not None, (
            "frames of a streamed split are asked of the data of `stream`, `sections` or `part`"
        )
        return self._memory

    @property
    def _streamed(self) -> _Source:
        assert self._source is not None
        return self._source

    def _with(self, memory: RowMemory) -> EpisodeTensors:
        data = copy.copy(self)
        data._memory = memory
        return data

    def _fit(self, rows: Tensor) -> bool:
        """Whether all that is gathered for ``rows`` fits into the window."""
        source = self._streamed
        return len(rows) * (source.before + 1 + source.after) * source.row_bytes <= source.window_bytes

    def _plan(self) -> tuple[Segments, int]:
        """The segments of the split, and how many of them a half of the window holds."""
        source = self._streamed
        half = source.window_bytes // 2
        segments = source.segments(len(self.actions), min(SEGMENT_BYTES, half // SEGMENTS_A_HALF))
        return segments, max(1, half // (segments.capacity * source.row_bytes))

    def _ring(
        self, segments: Segments, blocks: AtRandom | InOrder, segments_a_block: int, *, again_and_again: bool = False
    ) -> RowRing:
        readers = self._streamed.readers
        return RowRing(
            {name: on_scratch(reader) for name, reader in readers.items()} if again_and_again else readers,
            segments,
            blocks,
            segments_a_block=segments_a_block,
            device=self.device,
            num_threads=NUM_READERS,
        )


@dataclass(frozen=True)
class RowStream:
    """``batch`` answers the rows of a step (0, 1, ...), int64 [B]; ``data`` has what is gathered for them, until the next call."""

    data: EpisodeTensors
    batch: Callable[[int], Tensor]


@dataclass(frozen=True)
class Section:
    """The rows ``start`` .. ``stop`` - 1 of a split: ``data`` has what is gathered for them, until the next section is asked for;
    ``rows`` int64 are those of interest."""

    data: EpisodeTensors
    rows: Tensor
    start: int
    stop: int
