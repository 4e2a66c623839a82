"""What disturbs a demonstrator, so that every action occurs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lamflow.spaces import Discrete, KnownActions


@dataclass(frozen=True)
class Disturbance:
    """With probability ``epsilon`` a uniformly random action; else, of continuous ones, Gaussian ``noise`` upon the action, half the width
    of the space being 1, within the bounds."""

    space: KnownActions
    epsilon: float
    noise: float
    generator: np.random.Generator

    def __call__(self, chosen: Any) -> Any:
        """The action that is taken where a demonstrator chose ``chosen``, which may be None where all actions are random."""
        if self.generator.random() < self.epsilon:
            return self._at_random()
        return self._disturbed(chosen) if self.noise else chosen

    def _at_random(self) -> Any:
        if isinstance(self.space, Discrete):
            return self.generator.integers(self.space.count)
        return self.generator.uniform(self.space.low, self.space.high)

    def _disturbed(self, chosen: Any) -> Any:
        assert not isinstance(self.space, Discrete), "noise is for continuous actions"
        low, high = np.array(self.space.low), np.array(self.space.high)
        drawn = self.noise * (high - low) / 2 * self.generator.standard_normal(len(low))
        return np.clip(np.asarray(chosen, np.float64) + drawn, low, high)
