"""How much learners see of each of several environments whose episodes are one split: every draw has the shares exactly in expectation.

Shapes: K members, M rows. Row numbers are int64.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import Final

import numpy as np
from numpy.typing import NDArray

_GOLDEN: Final = (5**0.5 - 1) / 2
"""Multiples of it fill [0, 1) as evenly as any do: a beginning of any length has about the shares of the whole."""
_COUNTS_STREAM: Final = 5_000_017
"""Keeps the counts of batches apart from the permutations of the same seed."""
_STEPS_A_CHUNK: Final = 4096


@dataclass(frozen=True)
class MemberShares:
    """``starts`` int64 [K]: the first row of each member, the first of which is 0; ``shares`` float64 [K], which sum to 1; ``names``."""

    names: tuple[str, ...]
    starts: NDArray[np.int64]
    shares: NDArray[np.float64]

    def of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64 [M]: the member that each row is of."""
        return np.searchsorted(self.starts, rows, side="right") - 1

    def among(self, rows: NDArray[np.int64]) -> MemberShares:
        """The same members, of which those alone have a share that have some of ``rows``; all of them where there is no row."""
        has_some = np.bincount(self.of(rows), minlength=len(self.starts)) > 0
        if has_some.all() or not has_some.any():
            return self
        shares = np.where(has_some, self.shares, 0)
        return replace(self, shares=shares / shares.sum())

    def sequence(self, count: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """int64 [count]: a member for each of so many draws. Each is member k with probability ``shares[k]``; a shorter sequence is the
        beginning of a longer one of the same generator state."""
        places = (generator.random() + np.arange(count) * _GOLDEN) % 1
        return np.searchsorted(np.cumsum(self.shares)[:-1], places, side="right")

    def drawn(
        self, rows: NDArray[np.int64], sequence: NDArray[np.int64], generator: np.random.Generator
    ) -> NDArray[np.int64]:
        """A row, without replacement, for each member of ``sequence`` int64, as far as the members have ``rows``; where one has no more,
        any row that is left. At most all of ``rows``; of a shorter sequence the rows are the beginning of those of a longer one."""
        of_row = self.of(rows)
        own = [generator.permutation(rows[of_row == member]) for member in range(len(self.starts))]
        needed = np.bincount(sequence, minlength=len(own))
        if (needed <= [len(part) for part in own]).all():
            found = np.empty(len(sequence), np.int64)
            for member, part in enumerate(own):
                found[sequence == member] = part[: needed[member]]
            return found
        assert len(sequence) <= len(rows)
        taken: dict[int, None] = {}  # in their order
        parts = [iter(part.tolist()) for part in own]
        anyones = iter(generator.permutation(rows).tolist())
        for member in sequence.tolist():
            untaken = (row for row in chain(parts[member], anyones) if row not in taken)
            taken[next(untaken)] = None
        return np.fromiter(taken, np.int64, len(taken))


class BatchShares:
    """How many rows of each batch are of each member: ``shares`` [K] x ``batch_size``, rounded at random (systematic sampling), so that
    the expectation is exact and no count is off by one or more.

    A function of the arguments and the step alone, so training resumes exactly at any step.
    """

    def __init__(self, shares: NDArray[np.float64], batch_size: int, seed: int) -> None:
        self._ends = np.cumsum(shares / shares.sum())[:-1] * batch_size
        self._batch_size = batch_size
        self._seed = seed
        self._before = [np.zeros(len(shares), np.int64)]
        """Rows of each member before each chunk of steps."""
        self._chunk = -1
        self._passed = np.zeros((1, len(shares)), np.int64)

    @property
    def most(self) -> NDArray[np.int64]:
        """int64 [K]: rows of each member in a batch at most."""
        widths = np.diff(self._ends, prepend=0, append=self._batch_size)
        return np.minimum(np.floor(widths).astype(np.int64) + 1, self._batch_size)

    def spans(self, step: int) -> list[tuple[int, int]]:
        """The positions, from 0 on, of a step's rows in the endless sequence of each member: first, and one past the last."""
        chunk, offset = divmod(step, _STEPS_A_CHUNK)
        while len(self._before) <= chunk:
            self._before.append(self._before[-1] + self._in_chunk(len(self._before) - 1)[-1])
        ends = self._before[chunk] + self._in_chunk(chunk)[offset : offset + 2]
        return list(zip(*ends.tolist(), strict=True))

    def _in_chunk(self, chunk: int) -> NDArray[np.int64]:
        """int64 [steps + 1, K]: rows of each member in the steps of a chunk before each of them.

        The rows of a batch stand at (0, 1, ...) + u, for a uniform u of [0, 1), and member k has those between the sum of the shares before
        its own and that with it."""
        if chunk != self._chunk:
            offsets = np.random.default_rng((self._seed, chunk, _COUNTS_STREAM)).random(_STEPS_A_CHUNK)
            reached = np.ceil(self._ends[None] - offsets[:, None]).astype(np.int64).clip(0, self._batch_size)
            counts = np.diff(reached, axis=1, prepend=0, append=self._batch_size)
            self._passed = np.concatenate([np.zeros((1, counts.shape[1]), np.int64), counts.cumsum(0)])
            self._chunk = chunk
        return self._passed
