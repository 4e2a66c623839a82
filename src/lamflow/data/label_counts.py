"""Label budgets as a configuration writes them."""

from __future__ import annotations

import re
from typing import Literal

from lamflow.settings import MOST
from lamflow.settings_errors import short_repr

LabelCount = int | str


_LABELS = re.compile(r"([0-9]{1,9})( trajectories)?")


def parse_label_count(labels: LabelCount) -> tuple[int, Literal["transitions", "trajectories"]]:
    """``64`` -> (64, 'transitions'); ``'500 trajectories'`` -> (500, 'trajectories'); ValueError otherwise."""
    if isinstance(labels, int) and 0 < labels <= MOST:
        return labels, "transitions"
    if isinstance(labels, str) and (match := _LABELS.fullmatch(labels)) and int(match[1]) > 0:
        return int(match[1]), "trajectories" if match[2] else "transitions"
    raise ValueError(
        f"label count {short_repr(labels)}: expected a positive integer or '<n> trajectories', below {MOST:,}"
    )
