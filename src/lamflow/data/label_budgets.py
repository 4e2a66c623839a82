"""How many action labels a method has, and how configurations, tables and files write it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering
from typing import Literal, get_args

from lamflow.settings import MOST
from lamflow.settings_errors import short_repr

Unit = Literal["transitions", "trajectories", "all", "online"]
LabelCount = int | str
"""A budget as a configuration writes it."""

_COUNTED = re.compile(r"(0|[1-9]\d{0,14})( trajectories)?", re.ASCII)


@total_ordering
@dataclass(frozen=True)
class LabelBudget:
    """``count`` labels of transitions, all those of ``count`` trajectories, those of all transitions, or no labels but the actions that
    the agent takes itself ("online"). The last two have no count. Budgets are ordered by their units, as these stand here.
    """

    count: int
    unit: Unit = "transitions"

    @classmethod
    def parse(cls, labels: LabelCount) -> LabelBudget:
        """Of '64', '500 trajectories', 'all' or 'online'; ValueError for anything else. '0': no labels."""
        text = str(labels)
        if text in (ALL_LABELS, ONLINE_LABELS):
            return cls(0, "all" if text == ALL_LABELS else "online")
        match = _COUNTED.fullmatch(text)
        if match is None or (match[2] and match[1] == "0"):
            raise ValueError(
                f"label budget {labels!r}: expected '<n>', '<n> trajectories', '{ALL_LABELS}' or '{ONLINE_LABELS}'"
            )
        return cls(int(match[1]), "trajectories" if match[2] else "transitions")

    @classmethod
    def of_configuration(cls, labels: LabelCount) -> LabelBudget:
        """A positive number of transitions or trajectories; ValueError for anything else."""
        try:
            budget = cls.parse(labels)
        except ValueError:
            budget = cls(0)
        if not 0 < budget.count <= MOST:
            raise ValueError(
                f"label count {short_repr(labels)}: expected a positive integer or '<n> trajectories', below {MOST:,}"
            )
        return budget

    @property
    def written(self) -> LabelCount:
        """As a configuration writes it."""
        return self.count if self.unit == "transitions" else str(self)

    @property
    def transitions(self) -> int:
        """Its number of transitions, 0 of a budget in another unit, whose transitions are other draws."""
        return self.count if self.unit == "transitions" else 0

    def most_transitions(self, max_steps: int) -> int:
        """Transitions that are labelled at most, where an episode takes at most ``max_steps``."""
        return self.count * (max_steps if self.unit == "trajectories" else 1)

    def __str__(self) -> str:
        if self.unit in ("all", "online"):
            return ALL_LABELS if self.unit == "all" else ONLINE_LABELS
        return f"{self.count} trajectories" if self.unit == "trajectories" else str(self.count)

    def __lt__(self, other: LabelBudget) -> bool:
        units = get_args(Unit)
        return (units.index(self.unit), self.count) < (units.index(other.unit), other.count)


ALL_LABELS = "all"
"""Of methods that see every label."""
NO_LABELS = "0"
"""Of methods that see none."""
ONLINE_LABELS = "online"
"""Of methods that get no labels but act in the environment and see its rewards."""
REFERENCE_LABELS = (ALL_LABELS, NO_LABELS, ONLINE_LABELS)
"""Budgets that are no number of labels."""
