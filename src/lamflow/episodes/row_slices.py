"""How the rows of an episode are cut into pieces of bounded size."""

from __future__ import annotations

from collections.abc import Iterator

from lamflow.episodes.pieces import PIECE_BYTES


def row_slices(start: int, stop: int, *, row_bytes: int, chunk: int = 1) -> Iterator[slice]:
    """Slices of the rows from ``start`` to ``stop``, in order, of at most ``PIECE_BYTES`` or a row. They end where a file's chunks of
    ``chunk`` rows do, where that is possible, so that each chunk is unpacked once."""
    most = max(1, PIECE_BYTES // max(1, row_bytes))
    while start < stop:
        end = min(stop, start + most)
        aligned = end - end % chunk
        if end < stop and aligned > start:
            end = aligned
        yield slice(start, end)
        start = end
