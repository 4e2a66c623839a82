"""What codes stand for: counts of the true action under each joint code."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lamflow.envs.spec import EnvironmentSpec

LONGEST_NAME = 5
"""Characters of a code's name for which figures have room."""


@dataclass(frozen=True)
class CodeTable:
    """Counts of true actions by joint code: ``codes`` int64 [C, K] (K tokens) and ``counts`` int64 [C, A], most frequent first."""

    codes: NDArray[np.int64]
    counts: NDArray[np.int64]

    @property
    def names(self) -> list[str]:
        """The codes as text, tokens joined by '-'."""
        return ["-".join(map(str, row)) for row in self.codes.tolist()]

    @property
    def labels(self) -> list[str]:
        """The names, or where one of them is long the ranks of all: #1 is the most frequent code."""
        names = self.names
        return names if max(map(len, names)) <= LONGEST_NAME else [f"#{rank + 1}" for rank in range(len(names))]

    @property
    def frequencies(self) -> NDArray[np.float64]:
        """Share of the transitions that each code takes, [C]."""
        shares: NDArray[np.float64] = self.counts.sum(1) / max(1, int(self.counts.sum()))
        return shares

    @property
    def purity(self) -> float:
        """Share of transitions whose action is the most frequent one of their code: the accuracy of the best code-to-action table."""
        return float(self.counts.max(1).sum() / max(1, int(self.counts.sum())))


def count_codes(codes: NDArray[np.int64], actions: NDArray[np.int64], *, num_actions: int) -> CodeTable:
    """Count the true ``actions`` int64 [M] under each joint code, a row of ``codes`` int64 [M, K] (K tokens)."""
    if len(codes) != len(actions) or not len(codes):
        raise ValueError(f"{len(codes)} codes for {len(actions)} actions; expected as many and at least one")
    distinct, index = np.unique(codes, axis=0, return_inverse=True)
    counts = np.zeros((len(distinct), num_actions), np.int64)
    np.add.at(counts, (index.reshape(-1), actions), 1)
    order = np.argsort(-counts.sum(1), kind="stable")
    return CodeTable(distinct[order], counts[order])


def name_classes(spec: EnvironmentSpec, actions: NDArray[np.int64]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Actions int64 [M] by what they do (see ``EnvironmentSpec.action_classes``): int64 [M] places in the second answer, the names."""
    classes, place = np.unique(spec.class_of_action, return_inverse=True)
    return place[actions], tuple(spec.class_names[first] for first in classes)


def group_by_action(table: CodeTable, most: int) -> NDArray[np.int64]:
    """Indices of the ``most`` most frequent codes, sorted by their most frequent action, then by frequency."""
    shown = np.arange(min(len(table.codes), most))
    return shown[np.lexsort((shown, table.counts[shown].argmax(1)))]
