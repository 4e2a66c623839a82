"""What an agent has seen of running episodes: the last K observations of each.

Shapes: B episodes, K context frames.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lamflow.envs.interface import Observation
from lamflow.policies.inputs import PolicyInputs


def first_inputs(observation: Observation, context: int, device: torch.device) -> PolicyInputs:
    """The inputs of B episodes before their first observation, which stands in for what was before it."""
    frames, proprioception, task = (torch.from_numpy(part).to(device) for part in _parts(observation))
    return PolicyInputs(
        frames=frames[:, None].repeat_interleave(context, dim=1),
        begun=torch.zeros(len(frames), context, dtype=torch.bool, device=device),
        proprioception=proprioception[:, None].repeat_interleave(context, dim=1),
        task=task,
    )


def next_inputs(inputs: PolicyInputs, observation: Observation) -> PolicyInputs:
    """The inputs one step later: ``observation`` is the present, and the oldest one is forgotten."""
    device = inputs.frames.device
    frames, proprioception, task = (torch.from_numpy(part).to(device) for part in _parts(observation))
    return PolicyInputs(
        frames=torch.cat([inputs.frames[:, 1:], frames[:, None]], dim=1),
        begun=torch.cat([inputs.begun[:, 1:], torch.ones_like(inputs.begun[:, :1])], dim=1),
        proprioception=torch.cat([inputs.proprioception[:, 1:], proprioception[:, None]], dim=1),
        task=task,
    )


def _parts(observation: Observation) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    return observation.frames, observation.proprioception, observation.task


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
            for part, new in zip(followed, fresh, strict=True):
                part[torch.from_numpy(rows).to(self.device)] = new
        self.present = followed

    def after(self, observation: Observation, rows: NDArray[np.int64]) -> PolicyInputs:
        """What the inputs of the slots ``rows`` would be after these ``observation`` of theirs."""
        places = torch.from_numpy(rows).to(self.device)
        return next_inputs(PolicyInputs(*(part[places] for part in self.present)), observation)

    def state_dict(self) -> dict[str, Any]:
        return {"present": tuple(part.cpu() for part in self.present)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.present = PolicyInputs(*(part.to(self.device) for part in state["present"]))
