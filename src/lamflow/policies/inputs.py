"""What policies see.

Shapes: B batch, K context frames.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PolicyInputs:
    """The parts of observations by name, [B, K, ...], the last one the present; ``begun`` bool [B, K], False where the episode had not
    begun (parts then repeat the first)."""

    parts: Mapping[str, Tensor]
    begun: Tensor

    def map(self, change: Callable[[Tensor], Tensor]) -> PolicyInputs:
        """The same change of all tensors."""
        return PolicyInputs({name: change(part) for name, part in self.parts.items()}, change(self.begun))

    def present(self, name: str) -> Tensor:
        """A part of the present observations, [B, ...]."""
        return self.parts[name][:, -1]

    def replaced(self, parts: Mapping[str, Tensor]) -> PolicyInputs:
        """With other values of some parts."""
        return PolicyInputs({**self.parts, **parts}, self.begun)

    def put(self, rows: Tensor, others: PolicyInputs) -> None:
        """Write other inputs into some rows."""
        for name, part in self.parts.items():
            part[rows] = others.parts[name]
        self.begun[rows] = others.begun

    @staticmethod
    def joined(inputs: list[PolicyInputs]) -> PolicyInputs:
        """Batches one after the other."""
        parts = {name: torch.cat([each.parts[name] for each in inputs]) for name in inputs[0].parts}
        return PolicyInputs(parts, torch.cat([each.begun for each in inputs]))
