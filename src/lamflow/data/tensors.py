"""A split as learners use it: small columns as tensors on their device, frames in memory or streamed from the store.

Shapes: N rows, M rows of interest, B batch.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamflow.data.chunk_reader import Rows
from lamflow.data.held_windows import Gatherer, HeldWindows, Section, WindowStream
from lamflow.data.mixed_rows import Lane, mixed_in_memory, mixed_lanes, rows_of_members, seed_of
from lamflow.data.row_memory import HeldRows
from lamflow.data.row_ring import BlockStream, RowRing
from lamflow.data.scratch import on_scratch
from lamflow.data.segments import AtRandom, InOrder, Segments
from lamflow.data.shares import BatchShares, MemberShares
from lamflow.data.store import EpisodeArrays, EpisodeStore, array_of
from lamflow.data.windows import FRAMES, EpisodeBounds, Window, WindowSpec, transition_rows
from lamflow.networks.vectors import change_of
from lamflow.spaces import Vector
from lamflow.training.precision import default_device

SEGMENT_BYTES: Final = 24 << 20
"""Most bytes of a segment, which one thread reads in one go: about 15 ms."""
MAX_SEGMENT_ROWS: Final = 32_768
SEGMENTS_A_HALF: Final = 8
"""A half of the ring holds at least so many segments (where a chunk is not too large for that), so that its rows are of many
episodes. With each segment, the chunks before and behind it are decoded for one row: the fewer segments, the better."""
NUM_READERS: Final = 2
"""Threads that read segments. One decodes some 150,000 frames of 64x64 pixels a second."""


@dataclass(frozen=True)
class _Source:
    """Where the columns that are not in memory are read from, and how many bytes of them may be in memory at once."""

    readers: Mapping[str, Rows]
    window_bytes: int

    @property
    def row_bytes(self) -> int:
        return sum(reader.row_bytes for reader in self.readers.values())

    def restricted_to(self, columns: Sequence[str]) -> _Source:
        return replace(self, readers={name: reader for name, reader in self.readers.items() if name in columns})

    def segments(self, num_rows: int, most_bytes: int, reach: tuple[int, int]) -> Segments:
        """Segments of whole chunks of the first column, of at most ``most_bytes`` if a chunk is not larger."""
        chunk = next(iter(self.readers.values())).chunk_rows
        length = max(1, min(most_bytes // self.row_bytes, MAX_SEGMENT_ROWS) // chunk) * chunk
        return Segments(num_rows, min(length, num_rows), *reach)

    def holds(self, num_rows: int) -> bool:
        """Whether so many rows may be in memory at once."""
        return num_rows * self.row_bytes <= self.window_bytes


def _reach(spec: WindowSpec) -> tuple[int, int]:
    """Rows before and after its own that a row is kept with: at least one on each side. So the rows that fit into a window of memory,
    and the order in which they are drawn, are the same for all that look no further than a transition."""
    before, after = spec.reach
    return max(1, before), max(1, after)


def _change(window: Window) -> Tensor:
    """From the frame of a window to the next, float64 [B, ...]."""
    return window.at(FRAMES, 1).double() - window.at(FRAMES).double()


class EpisodeTensors:
    """A split: small columns as tensors on ``device``, wide ones (frames, latents) in memory or in their files.

    ``rows`` int64 [M]: those with a next frame, of the episodes that count. ``actions`` int64 [N]; ``labelled`` bool [N]: whose actions are
    known. ``frame_tolerance``: see ``EpisodeArrays``.
    ``parts``: names of the parts of observations beside the main one, whose column is ``FRAMES``. ``members``: whose rows are whose in a
    union, which ``stream`` draws by share. Windows are asked of what ``part``, ``stream`` and ``sections`` answer, for their rows: whether
    the wide columns fit into memory makes no difference to who asks.
    """

    def __init__(self, arrays: EpisodeArrays, device: torch.device | None = None) -> None:
        """All of it in memory."""
        self.device = device or default_device()
        self.bounds = EpisodeBounds.of(arrays, self.device)
        self.rows = transition_rows(arrays).to(self.device)
        self._counts: Tensor | None = None  # bool [N], of the rows that count where not all do
        self.members = arrays.members
        self.actions = torch.from_numpy(arrays.actions).to(self.device)
        self.labelled = torch.from_numpy(arrays.is_labelled).to(self.device)
        self.frame_tolerance = arrays.frame_tolerance
        parts = {name: torch.from_numpy(part).to(self.device) for name, part in arrays.observations.items()}
        self.parts = tuple(name for name in parts if name != arrays.main)
        self.main = arrays.main
        self.main_is_vector = arrays.main in parts and parts[arrays.main].is_floating_point()
        self._narrow = {"actions": self.actions} | {array_of(name): parts[name] for name in self.parts}
        self._wide: HeldRows | _Source = HeldRows({FRAMES: parts[arrays.main]} if arrays.main in parts else {})

    @classmethod
    def open(
        cls,
        store: EpisodeStore,
        *,
        window_gib: float,
        columns: Mapping[str, Rows] | None = None,
        device: torch.device | None = None,
    ) -> EpisodeTensors:
        """The split in ``store``, of which at most about ``window_gib`` GiB of wide columns are in memory at once.

        ``columns``: readers of further wide columns of the same rows (latents). ValueError names a damaged file.
        """
        data = cls(store.load(frames=False), device)
        data.main_is_vector = isinstance(store.spec.main_part, Vector)
        readers = {FRAMES: store.rows(array_of(store.spec.main)), **(columns or {})}
        for reader in readers.values():
            assert reader.num_rows == store.num_rows, f"{reader.spec.name} has the rows of {store.path}"
        source = _Source(readers, int(window_gib * 2**30))
        data._wide = data._whole(source) if source.holds(store.num_rows) else source
        return data

    def of_episodes(self, episodes: NDArray[np.int64] | None) -> EpisodeTensors:
        """The same data, of which the rows of ``episodes`` int64 [E] alone count; all for None."""
        if episodes is None:
            return self
        data = copy.copy(self)
        drawn = self.bounds.starts.unique()[torch.from_numpy(episodes).to(self.device)]
        data._counts = torch.isin(self.bounds.starts, drawn)
        data.rows = self.rows[data._counts[self.rows]]
        return data

    @property
    def action_rows(self) -> Tensor:
        """int64: rows whose action is known, ascending; with or without a next frame."""
        return torch.nonzero(self.labelled if self._counts is None else self.labelled & self._counts)[:, 0]

    @property
    def labelled_rows(self) -> Tensor:
        """int64: of ``rows`` those whose action is known."""
        return self.rows[self.labelled[self.rows]]

    def moments(self, *, changes: bool = False) -> dict[str, tuple[Tensor, Tensor]]:
        """Mean and standard deviation, float32 [entries] each, of the parts that are vectors of numbers, over all rows that count.

        Of a main part that is one, and with ``changes`` of any main part of numbers, also those of its change to the next frame, over
        ``rows``, by the name ``change_of(main)``; of pixels per colour.
        """
        vectors = {name: self._narrow[array_of(name)] for name in self.parts}
        if self._counts is not None:
            vectors = {name: part[self._counts] for name, part in vectors.items()}
        found = {
            name: (part.double().mean(0).float(), part.double().std(0, correction=0).float())
            for name, part in vectors.items()
            if part.is_floating_point()
        }
        if self.main_is_vector:
            every = torch.arange(len(self.actions), device=self.device)
            counting = every if self._counts is None else every[self._counts]
            found[self.main] = self._moments_of(WindowSpec(), counting, lambda window: window.at(FRAMES).double())
        if self.main_is_vector or changes:
            found[change_of(self.main)] = self._moments_of(WindowSpec(after=1), self.rows, _change)
        return found

    def _moments_of(self, spec: WindowSpec, rows: Tensor, values: Callable[[Window], Tensor]) -> tuple[Tensor, Tensor]:
        """Of what ``values`` makes of the windows of ``rows``, float64 [B, ..., entries], in two passes over them: squares about another
        point than the mean might cancel."""

        def mean_of(answer: Callable[[Tensor], Tensor]) -> Tensor:
            total, count = torch.zeros((), dtype=torch.float64, device=self.device), 0
            for section in self.sections(spec, rows):
                for window in section.windows():
                    found = answer(values(window)).flatten(0, -2)
                    total, count = total + found.sum(0), count + len(found)
            return total / count

        mean = mean_of(lambda found: found)
        variance = mean_of(lambda found: (found - mean).square())
        return mean.float(), variance.sqrt().float()

    def with_column(self, name: str, values_N: Tensor) -> EpisodeTensors:
        """The same data with another small column [N, ...]."""
        data = copy.copy(self)
        data._narrow = {**self._narrow, name: values_N.to(self.device)}
        return data

    def sample(self, count: int) -> Tensor:
        """At most ``count`` of ``rows``, always the same ones."""
        return self.some_of(self.rows, count)

    def some_of(self, rows: Tensor, count: int) -> Tensor:
        """At most ``count`` of ``rows`` int64 [M] at random, always the same ones; in a union by share, as far as members have rows."""
        if self.members is not None:
            generator, found = np.random.default_rng(0), rows.cpu().numpy()
            members = self.members.among(found)
            sequence = members.sequence(min(count, len(found)), generator)
            return torch.from_numpy(members.drawn(found, sequence, generator)).to(rows.device)
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
        return rows[order[:count].to(rows.device)]

    def part(self, spec: WindowSpec, rows: Tensor) -> HeldWindows:
        """The windows of ``rows`` int64 [M], with all that belongs to them in memory."""
        rows = rows.to(self.device)
        if isinstance(self._wide, HeldRows):
            return HeldWindows(spec, self.bounds, self._narrow, self._wide, rows)
        before, after = spec.reach
        near = rows.cpu().numpy()[:, None] + np.arange(-before, after + 1)
        kept = np.unique(near.clip(0, len(self.actions) - 1))
        readers = self._wide.restricted_to(spec.columns).readers
        found = {name: torch.from_numpy(reader.read_rows(kept)).to(self.device) for name, reader in readers.items()}
        return HeldWindows(
            spec, self.bounds, self._narrow, HeldRows(found, torch.from_numpy(kept).to(self.device)), rows
        )

    @contextmanager
    def stream(self, spec: WindowSpec, rows: Tensor, batch_size: int, seed: int) -> Iterator[WindowStream]:
        """Endless batches of the windows of ``rows`` int64 [M], each row once an epoch; a context manager. In a union, each batch has each
        member that has some of ``rows`` by its share, and its epochs are its own.

        A step's batch is a function of the arguments, the window of memory and the step. What is in memory: see
        ``TransitionStream``. A larger split: see ``AtRandom``; threads read it, and end with the context. ValueError when the
        window of memory is too small for a batch, and, from ``window``, naming a damaged file.
        """
        reach = _reach(spec)
        source = None if isinstance(self._wide, HeldRows) else self._wide.restricted_to(spec.columns)
        if source is None or source.holds(len(rows) * (sum(reach) + 1)):
            held = self.part(spec, rows)
            if self.members is None:
                yield held.stream(batch_size, seed)
            else:
                mixed = mixed_in_memory(held.rows, self.members, batch_size, seed)
                yield WindowStream(held, mixed.batch, seed)
            return
        if self.members is not None:
            with self._mixed(spec, rows, source, self.members, batch_size, seed) as stream:
                yield stream
            return
        lane = self._lane(rows.cpu().numpy(), source, reach, source.window_bytes, batch_size, seed)
        readers = {name: on_scratch(reader) for name, reader in source.readers.items()}
        with self._ring(readers, lane.segments, lane.order, lane.segments_a_block) as ring:
            gatherer = Gatherer(spec, self.bounds, self._narrow, ring)
            yield WindowStream(gatherer, BlockStream(lane.order, ring, batch_size).batch, seed)

    def _lane(
        self,
        rows: NDArray[np.int64],
        source: _Source,
        reach: tuple[int, int],
        window_bytes: int,
        batch_size: int,
        seed: int,
        held: tuple[int, int] | None = None,
        whose: str = "",
    ) -> Lane:
        """How ``rows`` are read through a window of memory; ValueError when that is too small for their part of a batch."""
        half = window_bytes // 2
        segments = source.segments(len(self.actions), min(SEGMENT_BYTES, half // SEGMENTS_A_HALF), reach)
        segments_a_half = max(1, half // (segments.capacity * source.row_bytes))
        order = AtRandom(rows, segments, segments_a_half, seed)
        if batch_size > order.fewest_rows and held is None:
            raise ValueError(
                f"found a window of {window_bytes / 2**30:.3g} GiB{whose}, a half of which may hold only "
                f"{order.fewest_rows} of the {len(rows)} rows to draw, expected at least the batch of {batch_size}: raise "
                "`training.window_gib`"
            )
        return Lane(segments, segments_a_half, order, held)

    @contextmanager
    def _mixed(
        self, spec: WindowSpec, rows: Tensor, source: _Source, members: MemberShares, batch_size: int, seed: int
    ) -> Iterator[WindowStream]:
        """Each member has its share of the window, and is held whole where it fits into that."""
        parts = rows_of_members(rows, members)
        drawn = [member for member, _ in parts]
        taken = members.shares[drawn] / members.shares[drawn].sum()
        batches, ends = BatchShares(taken, batch_size, seed), np.append(members.starts[1:], len(self.actions))
        lanes = []
        for (member, own), share, most in zip(parts, taken.tolist(), batches.most.tolist(), strict=True):
            window = int(source.window_bytes * share)
            bounds = (int(members.starts[member]), int(ends[member]))
            lanes.append(
                self._lane(
                    own,
                    source,
                    _reach(spec),
                    window,
                    most,
                    seed_of(seed, member),
                    held=bounds if (bounds[1] - bounds[0]) * source.row_bytes <= window else None,
                    whose=f" for {members.names[member]}",
                )
            )
        readers = {name: on_scratch(reader) for name, reader in source.readers.items()}
        with mixed_lanes(
            lanes,
            [(own, seed_of(seed, member)) for member, own in parts],
            readers,
            starts=members.starts[drawn],
            shares=batches,
            device=self.device,
            num_threads=max(1, NUM_READERS // len(lanes)),
        ) as (memory, stream):
            yield WindowStream(Gatherer(spec, self.bounds, self._narrow, memory), stream.batch, seed)

    def sections(self, spec: WindowSpec, rows: Tensor | None = None) -> Iterator[Section]:
        """All rows of the split in order, section by section; the next is read while one is used.

        ``rows`` int64, ascending: those of interest (default: ``self.rows``). What is in memory is one section.
        """
        rows = self.rows if rows is None else rows.to(self.device)
        if isinstance(self._wide, HeldRows):
            yield Section(spec, self.bounds, self._narrow, self._wide, rows, 0, len(self.actions))
            return
        source = self._wide.restricted_to(spec.columns)
        segments = source.segments(len(self.actions), SEGMENT_BYTES, _reach(spec))
        order = InOrder(rows.cpu().numpy(), segments, NUM_READERS)
        with self._ring(source.readers, segments, order, NUM_READERS) as ring:
            for number in range(order.num_blocks):
                section = ring.load(number)
                if number + 1 < order.num_blocks:
                    ring.request(number + 1)
                block = order.segments_of(number)
                start = int(block[0]) * segments.length
                stop = min((int(block[-1]) + 1) * segments.length, len(self.actions))
                yield Section(spec, self.bounds, self._narrow, ring, section, start, stop)

    def _whole(self, source: _Source) -> HeldRows:
        whole = {name: reader.read(0, reader.num_rows) for name, reader in source.readers.items()}
        return HeldRows({name: torch.from_numpy(values).to(self.device) for name, values in whole.items()})

    def _ring(
        self, readers: Mapping[str, Rows], segments: Segments, blocks: AtRandom | InOrder, segments_a_block: int
    ) -> RowRing:
        return RowRing(
            readers,
            segments,
            blocks,
            segments_a_block=segments_a_block,
            device=self.device,
            num_threads=NUM_READERS,
        )
