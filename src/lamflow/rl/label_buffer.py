"""A bounded store of labelled transitions: what the decoder of online decoding is fitted on.

Shapes: N capacity, M transitions, D latent width (or T codes).
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor


class LabelBuffer:
    """At most ``capacity`` pairs of a latent action and the true action.

    ``ring``: the last ones. ``reservoir``: at any time a uniform sample, without replacement, of all that were ever added (Vitter 1985,
    algorithm R). All memory is taken at once: float32 or int64 [N, width] and int64 [N].
    """

    def __init__(
        self, capacity: int, width: int, *, kind: Literal["ring", "reservoir"], dtype: torch.dtype, seed: int
    ) -> None:
        self.kind = kind
        self.num_added = 0
        self._latents = torch.zeros(capacity, width, dtype=dtype)
        self._actions = torch.zeros(capacity, dtype=torch.int64)
        self._generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return min(self.num_added, len(self._actions))

    @property
    def latents(self) -> Tensor:
        """Those in the buffer, [len, width]."""
        return self._latents[: len(self)]

    @property
    def actions(self) -> Tensor:
        """int64 [len]."""
        return self._actions[: len(self)]

    def add(self, latents_MD: Tensor, actions_M: Tensor) -> None:
        """Take in transitions in the order in which they happened."""
        places = self._places(len(actions_M))
        kept = _last_of_each(places)
        self._latents[places[kept]] = latents_MD.cpu()[kept].to(self._latents.dtype)
        self._actions[places[kept]] = actions_M.cpu()[kept]
        self.num_added += len(actions_M)

    def _places(self, count: int) -> Tensor:
        """int64 [count]: where each of the next transitions goes, -1 for nowhere."""
        capacity = len(self._actions)
        numbers = torch.arange(self.num_added, self.num_added + count)
        if self.kind == "ring":
            return numbers % capacity
        # The transition number n (from 0) takes a place with probability capacity / (n + 1), any place alike.
        drawn = (torch.rand(count, generator=self._generator, dtype=torch.float64) * (numbers + 1)).long()
        return torch.where(numbers < capacity, numbers, torch.where(drawn < capacity, drawn, -1))

    def state_dict(self) -> dict[str, Any]:
        return {
            "num_added": self.num_added,
            "latents": self.latents.clone(),
            "actions": self.actions.clone(),
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.num_added = state["num_added"]
        self._latents[: len(self)], self._actions[: len(self)] = state["latents"], state["actions"]
        self._generator.set_state(state["generator"])


def _last_of_each(places: Tensor) -> Tensor:
    """The last transition for each place, ascending; none for -1."""
    latest = {place: number for number, place in enumerate(places.tolist()) if place >= 0}
    return torch.tensor(sorted(latest.values()), dtype=torch.int64)
