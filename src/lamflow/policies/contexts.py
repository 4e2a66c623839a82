"""What an agent has seen of running episodes: the last K observations of each.

Shapes: B episodes, K context frames.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamflow.envs.interface import Observation
from lamflow.policies.inputs import PolicyInputs


def first_inputs(observation: Observation, context: int, device: torch.device) -> PolicyInputs:
    """The inputs of B episodes before their first observation, which stands in for what was before it."""
    return PolicyInputs(
        {
            name: torch.from_numpy(part).to(device)[:, None].repeat_interleave(context, dim=1)
            for name, part in observation.parts.items()
        },
        torch.zeros(len(observation), context, dtype=torch.bool, device=device),
    )


def next_inputs(inputs: PolicyInputs, observation: Observation) -> PolicyInputs:
    """The inputs one step later: ``observation`` is the present, and the oldest one is forgotten."""
    device = inputs.begun.device
    return PolicyInputs(
        {
            name: torch.cat([inputs.parts[name][:, 1:], torch.from_numpy(part).to(device)[:, None]], dim=1)
            for name, part in observation.parts.items()
        },
        torch.cat([inputs.begun[:, 1:], torch.ones_like(inputs.begun[:, :1])], dim=1),
    )


class ContextMemory:
    """The inputs of B slots whose episodes follow each other."""

    def __init__(self, observation: Observation, context: int, device: torch.device) -> None:
        self.context, self.device = context, device
        self.present = next_inputs(first_inputs(observation, context, device), observation)

    def see(self, observation: Observation, began: NDArray[np.bool_]) -> None:
        """Take in the next observations; in the slots ``began`` [B] they are the first ones of an episode."""
        followed = next_inputs(self.present, observation)
        if self.context > 1 and began.any():
            rows = np.flatnonzero(began)
            fresh = next_inputs(first_inputs(observation[rows], self.context, self.device), observation[rows])
            followed.put(torch.from_numpy(rows).to(self.device), fresh)
        self.present = followed

    def after(self, observation: Observation, rows: NDArray[np.int64]) -> PolicyInputs:
        """What the inputs of the slots ``rows`` would be after these ``observation`` of theirs."""
        places = torch.from_numpy(rows).to(self.device)
        return next_inputs(self.present.map(lambda part: part[places]), observation)

    def state_dict(self) -> dict[str, Any]:
        present = self.present.map(Tensor.cpu)
        return {"parts": dict(present.parts), "begun": present.begun}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.present = PolicyInputs(state["parts"], state["begun"]).map(lambda part: part.to(self.device))
