"""How methods read actions off recorded transitions, of which they see the next frame: decoders of latents, inverse dynamics models.

Shapes: M members, N rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from lamflow.data.tensors import EpisodeTensors
from lamflow.methods.jobs import Job
from lamflow.policies.members import Member
from lamflow.settings import Settings

READ_BYTES = 32 << 20
"""Of the main parts of observations that are asked for at once, one per row; contexts and windows are some times as much."""
MOST_READ_ROWS = 4096


class ActionReader(Protocol):
    """The decoders of all members."""

    @property
    def components(self) -> Sequence[Settings]:
        """Settings that name code which it runs, beside those of its method."""
        ...

    def read(self, data: EpisodeTensors, rows: Tensor) -> Tensor:
        """The most likely actions [M, N, ...], on the CPU, of the transitions at ``rows`` int64 [N], whose windows are in memory
        meanwhile."""
        ...


class ReadsActions(Protocol):
    """A method whose settings say what it ``reads_with``."""

    def action_reader(self, job: Job) -> tuple[list[Member], ActionReader]:
        """The members and what reads for them, from the files of the job; ValueError when these do not belong together or to the job."""
        ...


def rows_in_parts(rows: Tensor, row_bytes: int) -> Iterator[Tensor]:
    """``rows`` int64 [N] in parts whose main parts of observations, ``row_bytes`` each, take at most ``READ_BYTES``."""
    yield from rows.split(max(1, min(READ_BYTES // row_bytes, MOST_READ_ROWS)))


def read_actions(reader: ActionReader, data: EpisodeTensors, row_bytes: int, rows: Tensor) -> Tensor:
    """The actions [M, N, ...] at any number of ascending ``rows`` int64 [N], a part of them after the other."""
    return torch.cat([reader.read(data, part) for part in rows_in_parts(rows, row_bytes)], dim=1)
