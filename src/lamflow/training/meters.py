"""Loss terms of the last steps, summed where they are computed, so that no step has to wait for the device."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

TOTAL, NORM = "loss/total", "optimizer/gradient_norm"
_NO_STEP = -1.0


class TrainingDiverged(RuntimeError):
    """A loss or a gradient was not finite; the message names the step and the term."""


class LossMeter:
    """Means of the terms since the last ``read``, and the first step whose total or gradient norm was not finite.

    ``add`` only queues work on the device; ``check`` and ``read`` wait for it. Sums are float64.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._names: tuple[str, ...] = ()
        self._sums = torch.zeros(0)
        self._first_bad = torch.zeros(0)
        self._count = 0

    def add(self, step: int, total: Tensor, norm: Tensor, terms: dict[str, Tensor]) -> None:
        """Add a step's scalars; the names of ``terms`` are the same at each step."""
        scalars = (total, norm, *terms.values())
        values = torch.stack([scalar.detach().to(self._device) for scalar in scalars]).double()
        if not self._names:
            self._names = (TOTAL, NORM, *terms)
            self._sums = torch.zeros_like(values)
            self._first_bad = values.new_full((1 + len(values),), _NO_STEP)
        self._sums += values
        self._count += 1
        is_first = ~values[:2].isfinite().all() & (self._first_bad[0] == _NO_STEP)
        found = torch.cat([values.new_full((1,), step), values])
        self._first_bad = torch.where(is_first, found, self._first_bad)

    def check(self) -> None:
        """Raise TrainingDiverged if a step was not finite."""
        if not self._names or self._first_bad[0].item() == _NO_STEP:
            return
        step, *values = self._first_bad.tolist()
        bad = {name: value for name, value in zip(self._names, values, strict=True) if not math.isfinite(value)}
        terms = {name: value for name, value in bad.items() if name not in (TOTAL, NORM)}
        total = {"total": bad[TOTAL]} if TOTAL in bad else {"gradient norm": bad[NORM]}
        named = ", ".join(f"{name} = {value}" for name, value in (terms or total).items())
        raise TrainingDiverged(
            f"training diverged at step {int(step)}: {named}. Try a smaller learning rate or precision: float32."
        )

    def read(self) -> dict[str, float]:
        """The means since the last call, by name; starts anew."""
        self.check()
        means = (self._sums / self._count).tolist()
        self._sums.zero_()
        self._count = 0
        return dict(zip(self._names, means, strict=True))

    def state_dict(self) -> dict[str, Any]:
        return {
            "names": self._names,
            "sums": self._sums.cpu(),
            "first_bad": self._first_bad.cpu(),
            "count": self._count,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._names, self._count = state["names"], state["count"]
        self._sums, self._first_bad = state["sums"].to(self._device), state["first_bad"].to(self._device)
