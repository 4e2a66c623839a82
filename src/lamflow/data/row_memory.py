"""Where rows lie that were read into memory: whole arrays, or some rows of them.

Shapes: N rows of a split, M rows in memory, B batch, K rows wanted for each of a batch. Row numbers are int64.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class RowMemory(Protocol):
    """Columns of a split, by name, as far as they are in memory."""

    def take(self, name: str, wanted_BK: Tensor, rows_B: Tensor) -> Tensor:
        """The column's values at the rows ``wanted_BK``, each near the one of ``rows_B`` for which it is wanted: [B, K, ...]."""
        ...


@dataclass(frozen=True)
class HeldRows:
    """``columns`` [M, ...] of the ascending rows ``kept`` int64 [M], or of all rows (None)."""

    columns: Mapping[str, Tensor]
    kept: Tensor | None = None

    def take(self, name: str, wanted_BK: Tensor, rows_B: Tensor) -> Tensor:
        places = wanted_BK if self.kept is None else torch.searchsorted(self.kept, wanted_BK)
        return take_rows(self.columns[name], places)


def take_rows(array: Tensor, rows: Tensor) -> Tensor:
    """``array`` [M, ...] at ``rows`` of any shape: [*rows.shape, ...]."""
    return array.index_select(0, rows.reshape(-1)).reshape(*rows.shape, *array.shape[1:])
